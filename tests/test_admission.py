"""However many uploads arrive, and whatever they are, memory stays below what the policy and the limiter say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import admission
import pytest

#: What the interpreter, its threads and the encoders take besides.
CONSTANT = 16 << 20


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="reads what Linux knows of a process")
def test_p2_the_costliest_pictures_at_once() -> None:
    """Of each format, pictures that barely fit the policy, eight at once through a limiter of two."""
    script = Path(admission.__file__)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, cwd=script.parent)
    rows = json.loads(done.stdout)

    assert rows.keys() == admission.KINDS.keys()
    for kind, row in rows.items():
        assert 0.9 * admission.BUDGET < row["needed"] <= admission.BUDGET, kind  # there are no costlier ones
        assert row["peak"] <= admission.AT_A_TIME * admission.BUDGET + CONSTANT, kind
    assert max(row["peak"] for row in rows.values()) > admission.BUDGET  # several at a time do add up
