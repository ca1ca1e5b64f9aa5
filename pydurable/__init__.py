"""pydurable: a durable writer for Python.

When :meth:`Log.commit` returns, the record survives a power cut.

Names are imported when they are first used, with all that they need: nothing is imported later.  A
program that gives up rights, or changes its root directory, does ``from pydurable import ...`` of
what it uses before.
"""

from importlib import import_module

# typing.TYPE_CHECKING without typing, which takes longer to import than the rest of this module.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from pydurable._atomic_file import open_atomic
    from pydurable._replace import (
        rename,
        replace,
        replace_many,
        sync_data,
        sync_directory,
        sync_file,
    )
    from pydurable.aligned import AlignedBuffer
    from pydurable.append_file import AppendFile, AppendStats
    from pydurable.check import RepairReport, Report, repair_log, verify_log
    from pydurable.errors import (
        ClosedError,
        CorruptionError,
        DurabilityWarning,
        DurableError,
        ForkedError,
        FullError,
        LockedError,
        NotDurableError,
        PartlyReplacedError,
        PoisonedError,
        TruncatedError,
        UnsafeStorageError,
        VersionError,
    )
    from pydurable.log import Log, Stats
    from pydurable.reader import Record, read_log
    from pydurable.stale import StaleFile, find_stale, remove_stale
    from pydurable.storage import StorageReport, inspect_storage
    from pydurable.trim import trim_partial_line

__version__ = "0.1.0"

__all__ = [
    "AlignedBuffer",
    "AppendFile",
    "AppendStats",
    "ClosedError",
    "CorruptionError",
    "DurabilityWarning",
    "DurableError",
    "ForkedError",
    "FullError",
    "LockedError",
    "Log",
    "NotDurableError",
    "PartlyReplacedError",
    "PoisonedError",
    "Record",
    "RepairReport",
    "Report",
    "StaleFile",
    "Stats",
    "StorageReport",
    "TruncatedError",
    "UnsafeStorageError",
    "VersionError",
    "find_stale",
    "inspect_storage",
    "open_atomic",
    "read_log",
    "remove_stale",
    "rename",
    "repair_log",
    "replace",
    "replace_many",
    "sync_data",
    "sync_directory",
    "sync_file",
    "trim_partial_line",
    "verify_log",
]

# Which module defines what: the imports above, for the running program.
_NAMES = {
    "_atomic_file": "open_atomic",
    "_replace": "rename replace replace_many sync_data sync_directory sync_file",
    "aligned": "AlignedBuffer",
    "append_file": "AppendFile AppendStats",
    "check": "RepairReport Report repair_log verify_log",
    "errors": "ClosedError CorruptionError DurabilityWarning DurableError ForkedError FullError "
    "LockedError "
    "NotDurableError PartlyReplacedError PoisonedError TruncatedError UnsafeStorageError "
    "VersionError",
    "log": "Log Stats",
    "reader": "Record read_log",
    "stale": "StaleFile find_stale remove_stale",
    "storage": "StorageReport inspect_storage",
    "trim": "trim_partial_line",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}

_REMEDIES = {
    "pydurable._core": "pydurable's C core is not built: run pip install -e . in the project's "
    "folder (it takes a C compiler and Python's headers: gcc and python3-dev on Debian)",
    "_cffi_backend": "pydurable needs cffi: pip install cffi",
}


def __getattr__(name: str) -> object:
    """Import a name's module when the name is first used: nobody pays for what he does not use."""
    home = _HOMES.get(name, name)
    if home not in _NAMES:
        raise AttributeError(f"module 'pydurable' has no attribute {name!r}")
    try:
        module = import_module(f"pydurable.{home}")
    except ModuleNotFoundError as error:
        if error.name in _REMEDIES:
            raise ImportError(_REMEDIES[error.name], name=error.name) from error
        raise
    value: object = getattr(module, name) if name in _HOMES else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
