import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from safeupload._cli import check
from safeupload._cli.main import main
from safeupload._samples import Sample


def start(*arguments: str) -> list[str]:
    """Return the command of a new process."""
    return [sys.executable, "-P", "-m", "safeupload", *arguments]


@pytest.mark.parametrize("arguments", [(), ("check",), ("normalize",), ("compare",)])
def test_help_tells_usage_and_exit_codes(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """--help of the program and of each command ends with 0 and tells the usage and what the exit codes mean."""
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--help"])

    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert text.startswith("usage: python -m safeupload")
    assert "3    at least one file could not be read" in text


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nosuch"],
        ["check"],
        ["check", "--formats", "BMP", "x"],
        ["check", "--max-bytes", "0", "x"],
        ["check", "--max-pixels", "many", "x"],
        ["check", "-", "-"],
        ["normalize", "only-one"],
        ["normalize", "--size", "300", "in", "out"],
        ["normalize", "--size", "0x300", "in", "out"],
        ["normalize", "--quality", "96", "in", "out"],
        ["normalize", "--background", "white", "in", "out"],
        ["normalize", "-", "-", "out"],
        ["normalize", "in", "-"],
        ["compare", "-"],
        ["compare", "--seconds", "0", "x"],
        ["compare", "--seconds", "soon", "x"],
    ],
)
def test_wrong_command_line_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A command line that cannot be meant ends with 2 and the usage, before any file is read."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m safeupload")


def test_module_runs() -> None:
    """``python -m safeupload`` is the command line, and its exit code arrives."""
    done = subprocess.run(start("check", "no such file"), capture_output=True, text=True, check=False)

    assert done.returncode == 3
    assert done.stderr == "safeupload: no such file: cannot be read: no such file or directory\n"


def test_interrupt_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Ctrl-C ends with 130 and without a traceback."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(check, "validate", interrupt)

    assert main(["check", str(tmp_path / "x")]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_interrupt_signal(tmp_path: Path) -> None:
    """A real SIGINT while waiting for input ends with 130, quietly."""
    # Who started the tests in the background may have left SIGINT ignored, which a child inherits.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from safeupload._cli.main import main; raise SystemExit(main(['check', '-']))"
    with subprocess.Popen([sys.executable, "-P", "-c", code], stdin=-1, stdout=-1, stderr=-1) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()  # the header: it is at work
        time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 130
        assert child.stderr.read() == b""


@pytest.mark.skipif(os.name != "posix", reason="pipes")
def test_broken_pipe_is_quiet(tmp_path: Path) -> None:
    """Output that nobody reads any more ends the run without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            start("check", "--json", str(tmp_path / "x")), stdout=writing, stderr=-1, check=False, timeout=60
        )
    finally:
        os.close(writing)

    assert done.returncode == 141
    assert b"Traceback" not in done.stderr
    assert b"Broken" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_3(tmp_path: Path) -> None:
    """Output that cannot be written ends with 3 and one line."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(start("check", str(tmp_path)), stdout=full, stderr=-1, check=False, timeout=60)

    assert done.returncode == 3
    assert done.stderr == b"safeupload: cannot write: No space left on device\n"


def test_narrow_encoding(tmp_path: Path) -> None:
    """A name that the terminal's encoding lacks is escaped, not a crash."""
    (tmp_path / "größe-漢.png").write_bytes(b"no picture")
    done = subprocess.run(
        start("check", str(tmp_path)),
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict"},
    )

    assert done.returncode == 1
    assert rb"gr\xf6\xdfe-\u6f22.png" in done.stdout


def test_closed_streams(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without standard streams the exit code is still right."""
    (tmp_path / "x").write_bytes(b"no picture")
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)

    assert main(["check", str(tmp_path)]) == 1
    assert main(["check", str(tmp_path / "y")]) == 3


def test_json_is_for_scripts(tmp_path: Path) -> None:
    """A pipe gets plain JSON, one object a line, whatever rich would like to draw."""
    (tmp_path / "[red]x").write_bytes(b"no picture")
    done = subprocess.run(
        start("check", "--json", str(tmp_path)),
        capture_output=True,
        check=False,
        env={**os.environ, "FORCE_COLOR": "1"},
    )

    assert [json.loads(line)["code"] for line in done.stdout.splitlines()] == ["not_an_image"]


def test_sample_is_documented() -> None:
    """The sample type says what its fields mean (tests and benchmarks import it)."""
    assert Sample.__doc__ is not None
    assert "canaries" in Sample.__doc__
