/* module.c - the module itself: cpython.h says what it is for. */
#include "cpython.h"

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "pydurable._cpython",
                                        .m_size = -1};

void pd_cpython_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    const inquiry clear = (inquiry)PyType_GetSlot(type, Py_tp_clear);
    (void)clear(self);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static int add(PyObject *module, const char *name, PyObject *type)
{
    const int rc = type ? PyModule_AddObjectRef(module, name, type) : -1;
    Py_XDECREF(type);
    return rc;
}

PyMODINIT_FUNC PyInit__cpython(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module && add(module, "Writer", pd_cpython_writer()) == 0 &&
        add(module, "Gathering", pd_cpython_gathering()) == 0 &&
        add(module, "Waiter", pd_cpython_waiter()) == 0)
        return module;
    Py_XDECREF(module);
    return NULL;
}
