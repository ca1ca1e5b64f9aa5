"""Checking the options of a log before anything is touched."""

from __future__ import annotations

import math

from pydurable._native import METHODS, TARGETS

_SEGMENT_MIN = 64 << 10
_SEGMENT_MAX = 1 << 30
_PENDING_MIN = 256 << 10
_PENDING_MAX = 1 << 30
_INTERVAL_MAX = 86_400.0
_DELAY_MAX = 0.1
_PAGE = 4096


def _choice(name: str, value: str, choices: dict[str, int]) -> int:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if value not in choices:
        known = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {known}, not {value!r}")
    return choices[value]


def _integer(name: str, value: int, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be between {low} and {high}, not {value}")
    return value


def _nanoseconds(name: str, seconds: float, low: float, high: float) -> int:
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise TypeError(f"{name} must be a number of seconds, not {type(seconds).__name__}")
    if math.isnan(seconds) or not low <= seconds <= high:
        raise ValueError(f"{name} must be between {low:g} and {high:g} seconds, not {seconds}")
    return round(seconds * 1e9)


def _method(sync: str, method: str) -> int:
    """The method's number; a target that promises much takes only what can keep the promise."""
    number = _choice("method", method, METHODS)
    if method == "barrier" and sync not in ("none", "interval"):
        raise ValueError(
            'method="barrier" orders writes and does not make them durable: '
            'it goes with sync="none" and "interval"'
        )
    if sync == "paranoid":
        if method not in ("auto", "direct+dsync"):
            raise ValueError('sync="paranoid" goes with method="auto" or "direct+dsync"')
        return METHODS["direct+dsync"]
    return number


def file_options(
    *,
    sync: str,
    method: str,
    interval: float,
    max_pending_bytes: int,
    commit_delay: float,
    mode: int,
    trim: bool,
    refuses_full: bool,
) -> dict[str, int]:
    """The fields of ``struct pd_file_options``; TypeError or ValueError names what is wrong."""
    target = _choice("sync", sync, TARGETS)
    if _choice("method", method, METHODS) and method in ("direct", "direct+dsync"):
        raise ValueError(
            f"method={method!r} writes whole blocks, and the end of a plain file is none"
        )
    if sync == "paranoid":
        if method not in ("auto", "dsync"):
            raise ValueError('sync="paranoid" of a plain file goes with method="auto" or "dsync"')
        number = METHODS["dsync"]
    else:
        number = _method(sync, method)
    return {
        "target": target,
        "method": number,
        "lanes": 2,
        "interval_ns": _nanoseconds("interval", interval, 0.001, _INTERVAL_MAX),
        "commit_delay_ns": _nanoseconds("commit_delay", commit_delay, 0.0, _DELAY_MAX),
        "max_pending_bytes": _integer(
            "max_pending_bytes", max_pending_bytes, _PENDING_MIN, _PENDING_MAX
        ),
        "mode": _integer("mode", mode, 0, 0o7777),
        "trim": bool(trim),
        "refuses_full": refuses_full,
    }


def native_options(
    *,
    create: bool,
    sync: str,
    method: str,
    interval: float,
    segment_bytes: int,
    max_pending_bytes: int,
    commit_delay: float,
    lanes: int,
) -> dict[str, int]:
    """The fields of ``struct pd_log_options``; TypeError or ValueError names what is wrong."""
    target = _choice("sync", sync, TARGETS)
    segment = _integer("segment_bytes", segment_bytes, _SEGMENT_MIN, _SEGMENT_MAX)
    if segment % _PAGE:
        raise ValueError(f"segment_bytes must be a multiple of {_PAGE}, not {segment}")
    return {
        "target": target,
        "method": _method(sync, method),
        "create": bool(create),
        "lanes": _integer("lanes", lanes, 1, 2),
        "interval_ns": _nanoseconds("interval", interval, 0.001, _INTERVAL_MAX),
        "commit_delay_ns": _nanoseconds("commit_delay", commit_delay, 0.0, _DELAY_MAX),
        "segment_bytes": segment,
        "max_pending_bytes": _integer(
            "max_pending_bytes", max_pending_bytes, _PENDING_MIN, _PENDING_MAX
        ),
    }
