/*
 * writer.c - what append and commit call for each record: a type of the module pydurable._cpython.
 *
 * cffi gives the GIL back around every call, and who gives it back while another thread is busy
 * waits 5 ms for it (docs/design.md).  So append() is a method of a type of its own, which keeps
 * it: no other thread and no signal handler comes in between, and it makes no system call.
 * commit() gives it back, for it waits; but of many threads that commit, each holds up all the
 * others for as long as it takes from one wait to the next, and this is one call where through
 * cffi it was four frames of Python.
 */
#include "cpython.h"

#include "../adler32.h"
#include "../batch.h"
#include "../pydurable_append.h"
#include "../ring.h"

#include <string.h>

/* Guarded by the GIL. */
struct writer {
    PyObject base;    /* what PyObject_HEAD stands for */
    PyObject *keeps;  /* what keeps the log's memory */
    PyObject *refuse; /* raises why the last call failed */
    struct pd_log *log;
    struct pd_ring_view ring; /* bytes is NULL before start and after stop */
    uint64_t activation;      /* of the chunk that is in use */
    uint64_t used;            /* bytes of it */
};

static struct writer *writer_of(PyObject *self)
{
    return (struct writer *)(void *)self;
}

/* The position up to which frames are stored. */
static uint64_t tail_of(const struct writer *writer)
{
    return writer->ring.bytes ? writer->activation * writer->ring.chunk_bytes + writer->used : 0;
}

static bool store(struct writer *writer, const char *data, size_t size)
{
    const struct pd_ring_view *ring = &writer->ring;
    if (!ring->bytes || __atomic_load_n(&ring->words[0], __ATOMIC_ACQUIRE) || size > UINT32_MAX ||
        size + PD_RING_FRAME_BYTES > ring->chunk_bytes - writer->used)
        return false;
    uint8_t *at =
        ring->bytes + writer->activation % ring->chunks * ring->chunk_bytes + writer->used;
    memcpy(at + PD_RING_FRAME_BYTES, data, size);
    pd_put32(at + 4, pd_adler32(ring->salt, data, size));
    pd_put32(at, (uint32_t)size);
    writer->used += PD_RING_FRAME_BYTES + size;
    return true;
}

static PyObject *append(PyObject *self, PyObject *record)
{
    if (!PyBytes_CheckExact(record))
        Py_RETURN_FALSE;
    const size_t size = (size_t)PyBytes_Size(record);
    return PyBool_FromLong(store(writer_of(self), PyBytes_AsString(record), size));
}

static PyObject *refuse(const struct writer *writer)
{
    PyObject *nothing = PyObject_CallObject(writer->refuse, NULL);
    if (nothing) {
        Py_DECREF(nothing);
        PyErr_SetString(PyExc_SystemError, "a call that failed was not refused");
    }
    return NULL;
}

static PyObject *commit(PyObject *self, PyObject *record)
{
    const struct writer *writer = writer_of(self);
    char *data;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(record, &data, &size) < 0)
        return NULL;
    const uint64_t tail = tail_of(writer);
    struct pd_ticket ticket = {0, 0};
    int progress = PD_FULL;
    for (;;) {
        /* C waits a tenth of a second at most, so that Python sees to its signals in between. */
        PyThreadState *thread = PyEval_SaveThread();
        progress = progress == PD_WAITING
                       ? pd_log_wait(writer->log, &ticket)
                       : pd_log_commit(writer->log, data, (size_t)size, 0, tail, &ticket);
        PyEval_RestoreThread(thread);
        if (progress == PD_DONE)
            return PyLong_FromUnsignedLongLong(ticket.lsn);
        if (progress < 0)
            return refuse(writer);
        if (PyErr_CheckSignals() < 0)
            return NULL;
    }
}

static PyObject *fill(PyObject *self, PyObject *Py_UNUSED(nothing))
{
    struct writer *writer = writer_of(self);
    writer->used = writer->ring.chunk_bytes;
    Py_RETURN_NONE;
}

static PyObject *turn(PyObject *self, PyObject *lead)
{
    struct writer *writer = writer_of(self);
    writer->activation++;
    writer->used = 0;
    if (!PyBytes_CheckExact(lead) || PyBytes_Size(lead) == 0)
        Py_RETURN_NONE;
    (void)store(writer, PyBytes_AsString(lead), (size_t)PyBytes_Size(lead));
    Py_RETURN_NONE;
}

static PyObject *start(PyObject *self, PyObject *Py_UNUSED(nothing))
{
    pd_log_ring(writer_of(self)->log, &writer_of(self)->ring);
    Py_RETURN_NONE;
}

static PyObject *stop(PyObject *self, PyObject *Py_UNUSED(nothing))
{
    writer_of(self)->ring.bytes = NULL;
    Py_RETURN_NONE;
}

static PyObject *get_tail(PyObject *self, void *Py_UNUSED(context))
{
    return PyLong_FromUnsignedLongLong(tail_of(writer_of(self)));
}

static PyObject *get_activation(PyObject *self, void *Py_UNUSED(context))
{
    return PyLong_FromUnsignedLongLong(writer_of(self)->activation);
}

static PyObject *new_writer(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(named))
{
    PyObject *address, *keeps, *refusal;
    if (!PyArg_ParseTuple(args, "OOO:Writer", &address, &keeps, &refusal))
        return NULL;
    struct pd_log *log = PyLong_AsVoidPtr(address);
    if (!log)
        return PyErr_Occurred() ? NULL
                                : PyErr_Format(PyExc_ValueError, "the address of a log is not 0");
    PyObject *self = PyType_GenericAlloc(type, 0);
    if (!self)
        return NULL;
    struct writer *writer = writer_of(self);
    writer->keeps = Py_NewRef(keeps);
    writer->refuse = Py_NewRef(refusal);
    writer->log = log;
    return self;
}

static void dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(writer_of(self)->keeps);
    Py_XDECREF(writer_of(self)->refuse);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"append", append, METH_O, "Store bytes into the ring; False if they have to go another way."},
    {"commit", commit, METH_O, "Commit bytes as one record, behind what was stored; its LSN."},
    {"fill", fill, METH_NOARGS, "Let nothing more fit into the chunk that is in use."},
    {"turn", turn, METH_O,
     "Go over to the next chunk, which begins with this record if it has any."},
    {"start", start, METH_NOARGS, "From now on records may be stored, if there is a ring."},
    {"stop", stop, METH_NOARGS, "Store nothing any more: the ring goes away."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef attributes[] = {
    {"tail", get_tail, NULL, "The position up to which frames are stored.", NULL},
    {"activation", get_activation, NULL, "Which use of a chunk this is.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "Writer(address, keeps, refuse): the writing end of a log, and of its ring."},
    {Py_tp_new, new_writer},
    {Py_tp_dealloc, dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, attributes},
    {0, NULL},
};

static PyType_Spec specification = {
    .name = "pydurable._cpython.Writer",
    .basicsize = sizeof(struct writer),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};

PyObject *pd_cpython_writer(void)
{
    return PyType_FromSpec(&specification);
}
