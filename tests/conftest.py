"""Settings of the whole suite."""

import os

import pytest
from hypothesis import HealthCheck, settings

_COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
# CI repeats itself, so that a red run is the change's fault; a developer's machine explores.
_REPEATABLE = "CI" in os.environ

settings.register_profile("ordinary", _COMMON, max_examples=30, derandomize=_REPEATABLE)
settings.register_profile("long", _COMMON, max_examples=300, derandomize=_REPEATABLE)


def pytest_configure(config: pytest.Config) -> None:
    """Try many more examples of each property in the long run."""
    expression = str(config.option.markexpr)
    settings.load_profile("long" if "long" in expression and "not long" not in expression else "ordinary")
