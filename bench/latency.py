"""Latencies as a histogram: sent between processes, pooled, and asked for percentiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

# Buckets keep the leading seven bits of a time, so that a percentile is right within 1.6 %.
KEPT_BITS = 7


class Histogram:
    """Counts of latencies in nanoseconds, by the lower end of their bucket."""

    def __init__(self, counts: dict[int, int] | None = None) -> None:
        self.counts: Counter[int] = Counter(counts or {})

    @classmethod
    def of(cls, times_ns: Iterable[int]) -> Histogram:
        """Sort times into buckets."""
        return cls(Counter(map(_bucket, times_ns)))

    @classmethod
    def pooled(cls, parts: Iterable[Histogram]) -> Histogram:
        """Put the times of several slices together."""
        whole = cls()
        for part in parts:
            whole.counts.update(part.counts)
        return whole

    def __bool__(self) -> bool:
        return bool(self.counts)

    def percentile_us(self, percent: float) -> float:
        """Return the time in microseconds that this share of the commits did not exceed."""
        left = sum(self.counts.values()) * percent / 100
        for bucket in sorted(self.counts):
            left -= self.counts[bucket]
            if left <= 0:
                return bucket / 1000
        return float("nan")


def _bucket(time_ns: int) -> int:
    shift = max(time_ns.bit_length() - KEPT_BITS, 0)
    return time_ns >> shift << shift
