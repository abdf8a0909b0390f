"""A short soak, too short to tell whether memory grows: the long one, of twenty minutes, is run by hand."""

from pathlib import Path

import pytest
import soak


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc").exists(), reason="looks at processes as Linux shows them")
@pytest.mark.timeout(300)
def test_mixed_uploads_leave_every_user_with_his_picture(capsys: pytest.CaptureFixture[str]) -> None:
    """No answer of 500, nothing lost, nothing left over, with workers killed beside it."""
    assert soak.main(["--uploads", "600"]) == 0
    assert " workers killed" in capsys.readouterr().out


@pytest.mark.parametrize("name", soak.Look._fields)
def test_what_grows_is_told(name: str) -> None:
    """From the second quarter to the last by more than a tenth, in the median: one look that stands out is nothing."""
    steady = [soak.Look(1000, 1000, 1000, 1000)] * 20
    grown = [look._replace(**{name: 1101}) for look in steady[15:]]
    risen = steady[0]._replace(**{name: 5000})

    assert soak.judge([], steady, 0) == []
    assert soak.judge([], [*steady[:17], risen, risen, steady[0]], 0) == []
    assert soak.judge([], [*steady[:15], *grown], 0) == [f"{name} grew from 1,000 to 1,101"]
