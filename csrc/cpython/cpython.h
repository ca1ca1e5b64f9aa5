/*
 * cpython.h - the module pydurable._cpython, for CPython with its lock (GIL) alone: what is done
 * under that lock, where cffi would give it back, or takes more Python than the work itself.
 *
 * csrc knows nothing of Python; these files are not part of it, but are linked with it into one
 * shared object, which holds two modules.
 */
#ifndef PD_CPYTHON_H
#define PD_CPYTHON_H

#define Py_LIMITED_API 0x030A0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

/* Make the types; NULL with an exception. */
PyObject *pd_cpython_writer(void);
PyObject *pd_cpython_gathering(void);
PyObject *pd_cpython_waiter(void);
/* A waiter for a task of the loop; NULL with an exception. */
PyObject *pd_cpython_new_waiter(PyObject *loop);

/* For a type that the collector knows: what it can clear, and then itself. */
void pd_cpython_dealloc(PyObject *self);

#endif
