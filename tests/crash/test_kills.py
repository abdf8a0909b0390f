"""A process that is killed before any system call loses nothing, and leaves nothing that `recover` does not settle."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import killing
import pytest

SCRIPT = Path(__file__).with_name("kill_scenarios.py")
SCENARIOS = ["replace", "create", "delete", "two", "refused"]

pytestmark = pytest.mark.skipif(not killing.SUPPORTED, reason="needs ptrace of Linux on x86-64 or arm64")


def run(scenario: str, journal: str, durability: str, step: int, recovery_step: int) -> dict[str, Any]:
    """Kill in a process of its own, which forks; return what that found."""
    words = [scenario, journal, durability, str(step), str(recovery_step)]
    environment = {"PYTHONPATH": str(SCRIPT.parent.parent), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False, env=environment
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("ptrace is not permitted here")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check(found: dict[str, Any], step: int) -> None:
    """Check P5 at once after every kill, and that exactly the referenced files remain after `recover`."""
    assert found["calls"] >= 60
    assert found["kills"] >= found["calls"] // step - 1
    assert found["recovery_kills"] > found["kills"]
    assert found["dangling"] == []
    assert found["left"] == []
    assert found["not_recovered"] == []


@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_p5_p7_survive_a_kill(scenario: str, journal: str) -> None:
    """Killed at a sample of its system calls, and `recover` at a sample of its own."""
    check(run(scenario, journal, "safe", 23, 31), 23)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_p5_p7_survive_a_kill_with_leases(scenario: str) -> None:
    """Likewise where there are no locks: nothing but the marks' dates tells that their holder is gone."""
    check(run(scenario, "wal", "leases", 23, 31), 23)


def test_the_plain_way_does_not() -> None:
    """The same kills leave files behind where tutorials write, commit, and unlink: the check finds something."""
    found = run("plain", "delete", "safe", 1, 1)

    assert len(found["not_recovered"]) >= found["kills"] // 4


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("scenario", "journal", "durability", "step"),
    [
        *((each, "wal", "safe", 1 if each != "two" else 2) for each in SCENARIOS),
        ("two", "delete", "strict", 2),
        ("two", "wal", "leases", 2),
    ],
)
def test_p5_p7_survive_a_kill_anywhere(scenario: str, journal: str, durability: str, step: int) -> None:
    """Killed before every system call, of two replacements every other, and `recover` before every 41st, in turn."""
    check(run(scenario, journal, durability, step, 41), step)
