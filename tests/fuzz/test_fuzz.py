"""Each target of the fuzzers, for some seconds."""

import base64
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from fuzz import mutators, seeds

pytestmark = pytest.mark.long

_SECONDS = {"exif": 2, "icc": 3, "normalize": 10}  # and 5 for each format: a minute in all, with the starts
needs_atheris = pytest.mark.skipif(
    find_spec("atheris") is None, reason="atheris has wheels for CPython 3.11 to 3.14 on Linux (x86-64) only"
)


def fuzzed(target: str, seconds: int, folder: Path, *, before: str = "") -> subprocess.CompletedProcess[bytes]:
    """Fuzz a target in a process of its own, which begins with that code."""
    script = Path(__file__).with_name("__main__.py")
    arguments = [target, "--seconds", str(seconds), "--folder", str(folder), "-seed=1", "-print_final_stats=1"]
    run = f"sys.argv = {[str(script), *arguments]!r}\nrunpy.run_path(sys.argv[0], None, '__main__')"
    command = [sys.executable, "-c", f"import runpy, sys\n{before}\n{run}"]
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def found(folder: Path) -> list[bytes]:
    """Return what was found."""
    kinds = ("crash-*", "timeout-*", "oom-*", "leak-*")
    return [path.read_bytes() for kind in kinds for path in sorted(folder.glob(kind))]


@needs_atheris
@pytest.mark.timeout(300)
@pytest.mark.parametrize("target", seeds.NAMES)
def test_p1_nothing_is_found(target: str, tmp_path: Path) -> None:
    """P1: some seconds of fuzzing find nothing; what they do find is shown, to be tried again."""
    done = fuzzed(target, _SECONDS.get(target, 5), tmp_path)

    finds = [base64.b64encode(data).decode() for data in found(tmp_path / target)]
    assert not finds, f"base64 of what breaks {target}: {finds}\n{done.stdout.decode(errors='replace')[-4000:]}"
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-4000:]
    assert b"stat::number_of_executed_units" in done.stdout


@needs_atheris
@pytest.mark.timeout(300)
def test_a_bug_is_found(tmp_path: Path) -> None:
    """A parser that leaks an error of Python's own for some files is found out."""
    bug = (
        "import atheris\n"
        "with atheris.instrument_imports(include=['safeupload']):\n"
        "    from safeupload._formats import png\n"
        "whole = png.inflate\n"
        "png.inflate = lambda data, allowance, *, keep: (whole(data, allowance, keep=keep), data[0])[0]\n"
    )
    done = fuzzed("png", 60, tmp_path, before=bug)

    assert b"IndexError" in done.stdout
    assert done.returncode != 0
    assert len(found(tmp_path / "png")) == 1


@pytest.mark.parametrize("target", seeds.NAMES)
def test_mutations_come_again(target: str) -> None:
    """A mutation is the same for the same seed, and of no more bytes than asked for."""
    for seed in range(12):
        for data in seeds.seeds(target):
            first, second = (mutators.mutated(data, 300, seed, lambda part, limit: part[1:limit]) for _ in range(2))
            assert first == second
            assert len(first) <= 300
