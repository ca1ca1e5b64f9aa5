/*
 * waiter.c - what one task of an event loop waits for: a type of the module pydurable._cpython.
 *
 * To a task it is a future (it has _asyncio_future_blocking, and what goes with that).  A future of
 * asyncio wakes its task through the loop's queue, with a handle for each; tell() runs the task
 * itself.  Whatever else befalls a waiter, a failure or a cancellation, goes through the queue.
 */
#include "cpython.h"

enum state { WAITING, TOLD, FAILED, CANCELLED };

/* Guarded by the GIL; used in the loop's thread. */
struct waiter {
    PyObject base; /* what PyObject_HEAD stands for */
    PyObject *loop;
    PyObject *outcome; /* the result, the exception, or what came with the cancellation */
    PyObject *wake;    /* of the task; NULL before it waits, and once it was woken */
    PyObject *context; /* of the task */
    enum state state;
    bool blocking; /* yielded, and the task has not noticed */
};

static PyTypeObject *waiter_type;

static struct waiter *waiter_of(PyObject *self)
{
    return (struct waiter *)(void *)self;
}

PyObject *pd_cpython_new_waiter(PyObject *loop)
{
    PyObject *self = PyType_GenericAlloc(waiter_type, 0);
    if (self)
        waiter_of(self)->loop = Py_NewRef(loop);
    return self;
}

static PyObject *new_waiter(PyTypeObject *Py_UNUSED(type), PyObject *args, PyObject *named)
{
    static char *names[] = {"loop", NULL};
    PyObject *loop;
    if (!PyArg_ParseTupleAndKeywords(args, named, "O:Waiter", names, &loop))
        return NULL;
    return pd_cpython_new_waiter(loop);
}

/* -- the side of the task ------------------------------------------------------------------- */

static PyObject *raise_outcome(const struct waiter *waiter)
{
    if (waiter->state == FAILED) {
        PyErr_SetObject((PyObject *)Py_TYPE(waiter->outcome), waiter->outcome);
        return NULL;
    }
    PyObject *module = PyImport_ImportModule("asyncio");
    const char *name = waiter->state == CANCELLED ? "CancelledError" : "InvalidStateError";
    PyObject *kind = module ? PyObject_GetAttrString(module, name) : NULL;
    if (kind && waiter->outcome && waiter->outcome != Py_None)
        PyErr_SetObject(kind, waiter->outcome);
    else if (kind)
        PyErr_SetNone(kind);
    Py_XDECREF(kind);
    Py_XDECREF(module);
    return NULL;
}

static PyObject *result(PyObject *self, PyObject *Py_UNUSED(nothing))
{
    const struct waiter *waiter = waiter_of(self);
    return waiter->state == TOLD ? Py_NewRef(waiter->outcome) : raise_outcome(waiter);
}

static PySendResult send(PyObject *self, PyObject *Py_UNUSED(value), PyObject **out)
{
    struct waiter *waiter = waiter_of(self);
    if (waiter->state == WAITING && !waiter->wake) {
        waiter->blocking = true;
        *out = Py_NewRef(self);
        return PYGEN_NEXT;
    }
    *out = result(self, NULL);
    return *out ? PYGEN_RETURN : PYGEN_ERROR;
}

static PyObject *next(PyObject *self)
{
    PyObject *out;
    const PySendResult sent = send(self, NULL, &out);
    if (sent != PYGEN_RETURN)
        return out;
    /* A number or None: neither would be taken for several arguments. */
    PyErr_SetObject(PyExc_StopIteration, out);
    Py_DECREF(out);
    return NULL;
}

static PyObject *add_done_callback(PyObject *self, PyObject *const *args, Py_ssize_t number,
                                   PyObject *names)
{
    struct waiter *waiter = waiter_of(self);
    if (number != 1 || !names || PyTuple_Size(names) != 1 || waiter->wake ||
        waiter->state != WAITING) {
        PyErr_SetString(PyExc_RuntimeError, "one task waits for this, with its context");
        return NULL;
    }
    waiter->wake = Py_NewRef(args[0]);
    waiter->context = Py_NewRef(args[1]);
    Py_RETURN_NONE;
}

static PyObject *get_loop(PyObject *self, PyObject *Py_UNUSED(nothing))
{
    return Py_NewRef(waiter_of(self)->loop);
}

static PyObject *get_blocking(PyObject *self, void *Py_UNUSED(context))
{
    return PyBool_FromLong(waiter_of(self)->blocking);
}

static int set_blocking(PyObject *self, PyObject *value, void *Py_UNUSED(context))
{
    waiter_of(self)->blocking = value == Py_True;
    return 0;
}

/* -- the side of whoever has the results ---------------------------------------------------- */

static void settle(struct waiter *waiter, enum state state, PyObject *outcome)
{
    waiter->state = state;
    waiter->outcome = Py_NewRef(outcome);
}

/* The loop wakes the task in its next turn. */
static PyObject *wake_soon(PyObject *self)
{
    struct waiter *waiter = waiter_of(self);
    if (!waiter->wake)
        Py_RETURN_NONE;
    PyObject *call = PyObject_GetAttrString(waiter->loop, "call_soon");
    PyObject *args = PyTuple_Pack(2, waiter->wake, self);
    PyObject *named = PyDict_New();
    PyObject *handle = NULL;
    if (call && args && named && PyDict_SetItemString(named, "context", waiter->context) == 0)
        handle = PyObject_Call(call, args, named);
    Py_XDECREF(call);
    Py_XDECREF(args);
    Py_XDECREF(named);
    if (handle)
        Py_CLEAR(waiter->wake);
    return handle;
}

static PyObject *settle_later(PyObject *self, enum state state, PyObject *outcome)
{
    struct waiter *waiter = waiter_of(self);
    if (waiter->state != WAITING)
        Py_RETURN_FALSE;
    settle(waiter, state, outcome);
    PyObject *handle = wake_soon(self);
    if (!handle)
        return NULL;
    Py_DECREF(handle);
    Py_RETURN_TRUE;
}

static PyObject *tell_later(PyObject *self, PyObject *value)
{
    return settle_later(self, TOLD, value);
}

static PyObject *fail(PyObject *self, PyObject *exception)
{
    if (!PyObject_IsInstance(exception, PyExc_Exception)) {
        PyErr_SetString(PyExc_TypeError, "an exception is required");
        return NULL;
    }
    return settle_later(self, FAILED, exception);
}

static PyObject *cancel(PyObject *self, PyObject *args, PyObject *named)
{
    static char *names[] = {"msg", NULL};
    PyObject *message = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, named, "|O:cancel", names, &message))
        return NULL;
    return settle_later(self, CANCELLED, message);
}

static PyObject *tell(PyObject *self, PyObject *value)
{
    static PyObject *run;
    struct waiter *waiter = waiter_of(self);
    if (!run && !(run = PyUnicode_InternFromString("run")))
        return NULL;
    if (waiter->state != WAITING)
        Py_RETURN_NONE;
    settle(waiter, TOLD, value);
    PyObject *wake = waiter->wake;
    if (!wake)
        Py_RETURN_NONE;
    waiter->wake = NULL;
    PyObject *done = PyObject_CallMethodObjArgs(waiter->context, run, wake, self, NULL);
    Py_DECREF(wake);
    return done;
}

static PyObject *done(PyObject *self, PyObject *Py_UNUSED(nothing))
{
    return PyBool_FromLong(waiter_of(self)->state != WAITING);
}

/* -- the type ------------------------------------------------------------------------------- */

static int traverse(PyObject *self, visitproc visit, void *arg)
{
    const struct waiter *waiter = waiter_of(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(waiter->loop);
    Py_VISIT(waiter->outcome);
    Py_VISIT(waiter->wake);
    Py_VISIT(waiter->context);
    return 0;
}

static int clear(PyObject *self)
{
    struct waiter *waiter = waiter_of(self);
    Py_CLEAR(waiter->loop);
    Py_CLEAR(waiter->outcome);
    Py_CLEAR(waiter->wake);
    Py_CLEAR(waiter->context);
    return 0;
}

static PyObject *itself(PyObject *self)
{
    return Py_NewRef(self);
}

static PyMethodDef methods[] = {
    {"tell", tell, METH_O, "Give it its result and run the task until it waits again."},
    {"tell_later", tell_later, METH_O, "Give it its result; the loop runs the task."},
    {"fail", fail, METH_O, "Give it an exception; the loop runs the task."},
    {"done", done, METH_NOARGS, "Whether it has been told, has failed or was cancelled."},
    {"cancel", (PyCFunction)(void (*)(void))cancel, METH_VARARGS | METH_KEYWORDS,
     "For the task: wait no longer.  False if there is an outcome."},
    {"result", result, METH_NOARGS, "For the task: the result, or raise why there is none."},
    {"get_loop", get_loop, METH_NOARGS, "For the task: the loop."},
    {"add_done_callback", (PyCFunction)(void (*)(void))add_done_callback,
     METH_FASTCALL | METH_KEYWORDS, "For the task: how it is woken."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef attributes[] = {
    {"_asyncio_future_blocking", get_blocking, set_blocking, "For the task.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "Waiter(loop): what one task waits for."},
    {Py_tp_new, new_waiter},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_dealloc, pd_cpython_dealloc},
    {Py_am_await, itself},
    {Py_am_send, send},
    {Py_tp_iter, itself},
    {Py_tp_iternext, next},
    {Py_tp_methods, methods},
    {Py_tp_getset, attributes},
    {0, NULL},
};

static PyType_Spec specification = {
    .name = "pydurable._cpython.Waiter",
    .basicsize = sizeof(struct waiter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

PyObject *pd_cpython_waiter(void)
{
    waiter_type = (PyTypeObject *)PyType_FromSpec(&specification);
    return Py_XNewRef((PyObject *)waiter_type);
}
