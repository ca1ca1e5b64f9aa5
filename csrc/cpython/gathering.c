/*
 * gathering.c - where the tasks of an event loop leave what they commit: a type of the module
 * pydurable._cpython.
 *
 * With a thousand tasks the loop is what takes time, and not the disk: what a commit costs is the
 * Python between one wake-up of its task and the next.  This is the part of it that is pydurable's.
 */
#include "cpython.h"

#include <pythread.h>
#include <stddef.h>
#include <structmember.h>

/* Guarded by the GIL; all but its making happens in the loop's thread. */
struct gathering {
    PyObject base;  /* what PyObject_HEAD stands for */
    PyObject *home; /* _thread_id says in which thread the loop runs, if it runs */
    PyObject *loop;
    PyObject *schedule;   /* called for the first record of a turn */
    PyObject *records;    /* a list; */
    PyObject *waiters;    /* and one of who waits for them */
    Py_ssize_t max_bytes; /* of a record */
    unsigned long inside; /* the thread in which the loop's tasks are being run, 0 if none is */
    bool scheduled;
};

static PyObject *thread_id; /* the attribute's name */

static struct gathering *gathering_of(PyObject *self)
{
    return (struct gathering *)(void *)self;
}

/* Whether the loop runs in this thread; -1 with an exception. */
static int is_at_home(const struct gathering *gathering)
{
    if (gathering->inside == PyThread_get_thread_ident())
        return 1;
    PyObject *number = PyObject_GetAttr(gathering->home, thread_id);
    if (!number)
        return -1;
    const bool runs = PyLong_CheckExact(number);
    const bool here = runs && PyLong_AsUnsignedLong(number) == PyThread_get_thread_ident();
    Py_DECREF(number);
    return PyErr_Occurred() ? -1 : here;
}

static PyObject *commit(PyObject *self, PyObject *record)
{
    struct gathering *gathering = gathering_of(self);
    if (!PyBytes_CheckExact(record) || PyBytes_Size(record) > gathering->max_bytes)
        Py_RETURN_NONE;
    const int here = is_at_home(gathering);
    if (here < 0)
        return NULL;
    if (!here)
        Py_RETURN_NONE;
    PyObject *waiter = pd_cpython_new_waiter(gathering->loop);
    if (!waiter)
        return NULL;
    /* Scheduled first: if that fails nothing has been left here. */
    if (!gathering->scheduled) {
        PyObject *nothing = PyObject_CallObject(gathering->schedule, NULL);
        if (!nothing)
            goto failed;
        Py_DECREF(nothing);
        gathering->scheduled = true;
    }
    if (PyList_Append(gathering->records, record) < 0)
        goto failed;
    if (PyList_Append(gathering->waiters, waiter) < 0) {
        const Py_ssize_t last = PyList_Size(gathering->records) - 1;
        (void)PyList_SetSlice(gathering->records, last, last + 1, NULL);
        goto failed;
    }
    return waiter;
failed:
    Py_DECREF(waiter);
    return NULL;
}

static PyObject *take(PyObject *self, PyObject *Py_UNUSED(nothing))
{
    struct gathering *gathering = gathering_of(self);
    PyObject *records = PyList_New(0), *waiters = PyList_New(0);
    PyObject *taken =
        records && waiters ? PyTuple_Pack(2, gathering->records, gathering->waiters) : NULL;
    if (!taken) {
        Py_XDECREF(records);
        Py_XDECREF(waiters);
        return NULL;
    }
    Py_DECREF(gathering->records);
    Py_DECREF(gathering->waiters);
    gathering->records = records;
    gathering->waiters = waiters;
    return taken;
}

static PyObject *get_scheduled(PyObject *self, void *Py_UNUSED(context))
{
    return PyBool_FromLong(gathering_of(self)->scheduled);
}

static int set_scheduled(PyObject *self, PyObject *value, void *Py_UNUSED(context))
{
    gathering_of(self)->scheduled = value == Py_True;
    return 0;
}

static PyObject *get_records(PyObject *self, void *Py_UNUSED(context))
{
    return Py_NewRef(gathering_of(self)->records);
}

static PyObject *get_waiters(PyObject *self, void *Py_UNUSED(context))
{
    return Py_NewRef(gathering_of(self)->waiters);
}

static PyObject *new_gathering(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(named))
{
    PyObject *home, *loop, *schedule;
    Py_ssize_t max_bytes;
    if (!PyArg_ParseTuple(args, "OOOn:Gathering", &home, &loop, &schedule, &max_bytes))
        return NULL;
    PyObject *self = PyType_GenericAlloc(type, 0);
    if (!self)
        return NULL;
    struct gathering *gathering = gathering_of(self);
    gathering->home = Py_NewRef(home);
    gathering->loop = Py_NewRef(loop);
    gathering->schedule = Py_NewRef(schedule);
    gathering->max_bytes = max_bytes;
    gathering->records = PyList_New(0);
    gathering->waiters = PyList_New(0);
    if (gathering->records && gathering->waiters)
        return self;
    Py_DECREF(self);
    return NULL;
}

/* The schedule leads back to whoever has the gathering: the collector has to see through it. */
static int traverse(PyObject *self, visitproc visit, void *arg)
{
    const struct gathering *gathering = gathering_of(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(gathering->home);
    Py_VISIT(gathering->loop);
    Py_VISIT(gathering->schedule);
    Py_VISIT(gathering->records);
    Py_VISIT(gathering->waiters);
    return 0;
}

static int clear(PyObject *self)
{
    struct gathering *gathering = gathering_of(self);
    Py_CLEAR(gathering->home);
    Py_CLEAR(gathering->loop);
    Py_CLEAR(gathering->schedule);
    Py_CLEAR(gathering->records);
    Py_CLEAR(gathering->waiters);
    return 0;
}

static PyMethodDef methods[] = {
    {"commit", commit, METH_O, "Leave bytes and get their waiter; None if they go another way."},
    {"take", take, METH_NOARGS, "The lists of records and of waiters, which begin anew."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef attributes[] = {
    {"scheduled", get_scheduled, set_scheduled, "Whether the end of the turn is seen to.", NULL},
    {"records", get_records, NULL, "What was left, in order.", NULL},
    {"waiters", get_waiters, NULL, "Who waits for it.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef members[] = {
    {"inside", T_ULONG, offsetof(struct gathering, inside), 0,
     "In which thread the loop's tasks are being run; 0 if it has to be found out."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "Gathering(home, loop, schedule, max_bytes): what a loop's tasks commit."},
    {Py_tp_new, new_gathering},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_dealloc, pd_cpython_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, attributes},
    {Py_tp_members, members},
    {0, NULL},
};

static PyType_Spec specification = {
    .name = "pydurable._cpython.Gathering",
    .basicsize = sizeof(struct gathering),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

PyObject *pd_cpython_gathering(void)
{
    thread_id = PyUnicode_InternFromString("_thread_id");
    return thread_id ? PyType_FromSpec(&specification) : NULL;
}
