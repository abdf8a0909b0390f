"""The two clocks of a machine that its leases go by."""

from __future__ import annotations

import time


def elapsed() -> float:
    """Return seconds by a clock that nobody sets; where there is one, by one that goes on while the machine sleeps."""
    clock: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def today() -> float:
    """Return the time of day, in seconds since 1970; whoever keeps the machine may set it."""
    return time.time()
