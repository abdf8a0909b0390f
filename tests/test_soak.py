"""A short soak: the long one, of twenty minutes, is run by hand."""

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
