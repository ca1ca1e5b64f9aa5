"""pydurable: a durable writer for Python.

When :meth:`Log.commit` returns, the record survives a power cut.
"""

from pydurable.check import RepairReport, Report, repair_log, verify_log
from pydurable.errors import (
    ClosedError,
    CorruptionError,
    DurableError,
    ForkedError,
    LockedError,
    PoisonedError,
    TruncatedError,
    UnsafeStorageError,
    VersionError,
)
from pydurable.log import Log, Stats
from pydurable.reader import Record, read_log

__version__ = "0.1.0"

__all__ = [
    "ClosedError",
    "CorruptionError",
    "DurableError",
    "ForkedError",
    "LockedError",
    "Log",
    "PoisonedError",
    "Record",
    "RepairReport",
    "Report",
    "Stats",
    "TruncatedError",
    "UnsafeStorageError",
    "VersionError",
    "read_log",
    "repair_log",
    "verify_log",
]
