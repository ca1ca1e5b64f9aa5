"""Hand the cffi recipe to setuptools; everything else is declared in pyproject.toml."""

import platform
import sysconfig

from setuptools import setup

# CPython with a GIL takes one stable-ABI wheel for every version from 3.10 on.  Free-threaded
# builds have no stable ABI yet, and PyPy never had one.
stable_abi = platform.python_implementation() == "CPython" and not sysconfig.get_config_var(
    "Py_GIL_DISABLED"
)

setup(
    cffi_modules=["csrc/build_core.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if stable_abi else {},
)
