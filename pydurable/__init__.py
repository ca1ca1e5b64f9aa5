"""pydurable: a durable writer for Python.

When :meth:`Log.commit` returns, the record survives a power cut.
"""

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
from pydurable.check import RepairReport, Report, repair_log, verify_log
from pydurable.errors import (
    ClosedError,
    CorruptionError,
    DurableError,
    ForkedError,
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

__version__ = "0.1.0"

__all__ = [
    "AlignedBuffer",
    "ClosedError",
    "CorruptionError",
    "DurableError",
    "ForkedError",
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
    "TruncatedError",
    "UnsafeStorageError",
    "VersionError",
    "find_stale",
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
    "verify_log",
]
