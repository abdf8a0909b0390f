"""Durations and numbers, as callers give them."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TypeAlias

from safeupload.errors import InvalidArgument

Duration: TypeAlias = timedelta | float  # a number counts seconds


def seconds(name: str, value: Duration) -> float:
    """Return a duration in seconds; raise `InvalidArgument` if it is none."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise InvalidArgument(f"{name}: expected a timedelta or a number of seconds, 0 or more, got {value!r}")
    return float(value)


def count(name: str, value: int, low: int = 0) -> int:
    """Return a whole number, `low` or more; raise `InvalidArgument` if it is none."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise InvalidArgument(f"{name}: expected a number, {low} or more, got {value!r}")
    return value
