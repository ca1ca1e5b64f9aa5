/* module.c - the module itself: cpython.h says what it is for. */
#include "cpython.h"

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "pydurable._cpython",
                                        .m_size = -1};

static int add(PyObject *module, const char *name, PyObject *type)
{
    const int rc = type ? PyModule_AddObjectRef(module, name, type) : -1;
    Py_XDECREF(type);
    return rc;
}

PyMODINIT_FUNC PyInit__cpython(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module && add(module, "Writer", pd_cpython_writer()) == 0)
        return module;
    Py_XDECREF(module);
    return NULL;
}
