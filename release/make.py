"""
Build the files of a release, and try them as users will: `python3 run.py package`.

Twice, in two places, at two times and with two masks for permissions: the files must be the same, byte by byte. The
wheel must hold the package and nothing else. Then the tests run against it, with the sources out of the way; and once
more with the lowest releases of the dependencies that `pyproject.toml` allows.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import contents  # noqa: E402

import run  # noqa: E402

DIST = ROOT / "dist"
#: What a copy of the repository does without.
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", "build", "dist", "var", "node_modules")

#: What is tried with the wheel and the newest releases: whatever needs the package's own files, or its metadata, and
#: the applications. The parsers are tried with it below.
WITH_WHEEL = (
    "tests/test_package.py",
    "tests/test_image.py",
    "tests/test_workers.py::test_a_worker_makes_the_same_picture",
    "tests/test_workers.py::test_what_is_refused_is_refused_alike",
    "tests/test_workers.py::test_a_worker_has_nothing_of_the_application",
    "tests/test_workers.py::test_uploads_decode_where_they_are_told",
    "tests/test_asgi.py",
    "tests/cli/test_cli_check.py",
    "tests/cli/test_cli_main.py",
    "tests/replacement/test_parts.py",
    "tests/storage/test_local.py",
    "tests/testing/test_plugin.py",
    "tests/testing/test_testing.py",
    "examples/fastapi_example",
    "examples/flask_example",
    "examples/django_example",
)
#: What is tried with the lowest releases: what uses Pillow, anyio, pillow-heif, obstore, rich, Hypothesis and
#: pytest, which runs all of it, and no framework: those need newer ones.
WITH_LOWEST = (
    "tests/test_package.py",
    "tests/test_colour.py",
    "tests/test_image.py",
    "tests/test_render.py",
    "tests/test_source.py",
    "tests/test_threads.py",
    "tests/cli/test_cli_check.py",
    "tests/cli/test_cli_main.py",
    "tests/cli/test_cli_screen.py",
    "tests/formats/test_formats.py",
    "tests/replacement/test_cancellation.py",
    "tests/storage/test_contract.py::TestMemoryStorage",
    "tests/storage/test_objectstore.py",
    "tests/storage/test_objectstore_details.py",
    "tests/testing/test_kinds.py",
    "tests/testing/test_plugin.py",
    "tests/testing/test_samples.py",
    "tests/testing/test_strategies.py",
)

#: What must not be found in the environment of the tests, whose releases are newer.
LOWEST = ("PIL", "anyio", "hypothesis", "obstore", "pillow_heif", "pytest", "rich", "typing_extensions")


def main() -> int:
    """Do it all, and stop at the first thing that is wrong."""
    with tempfile.TemporaryDirectory(prefix="safeupload-release-") as name:
        folder = Path(name)
        try:
            wheel = build(folder)
            try_out("the wheel", wheel, folder / "wheel", None, WITH_WHEEL)
            try_out("the lowest releases", wheel, folder / "lowest", ROOT / "requirements/lowest.txt", WITH_LOWEST)
        except Wrong as error:
            print(f"package: {error}", file=sys.stderr)
            return 1
    print(f"package: {', '.join(sorted(path.name for path in DIST.iterdir()))} in {DIST}")
    return 0


class Wrong(Exception):
    """What keeps this from being released, in one line."""


def build(folder: Path) -> Path:
    """Build sdist and wheel twice, look at them, and return the wheel."""
    if DIST.exists():
        shutil.rmtree(DIST)
    elsewhere = folder / "elsewhere"
    shutil.copytree(ROOT, elsewhere, ignore=LEFT_OUT)
    for path in elsewhere.rglob("*"):
        os.utime(path, (10**9, 10**9))
    date = {"SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH") or _committed()}
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir"]
    _call([*command, str(DIST), str(ROOT)], date)
    before = os.umask(0o077)
    try:
        _call([*command, str(folder / "again"), str(elsewhere)], date | {"TZ": "Asia/Kolkata"})
    finally:
        os.umask(before)
    first, second = _digests(DIST), _digests(folder / "again")
    if first != second:
        raise Wrong(f"not reproducible: {first} and {second}")
    files = [str(path) for path in sorted(DIST.iterdir())]
    (wheel,) = DIST.glob("*.whl")
    (sdist,) = DIST.glob("*.tar.gz")
    _call([sys.executable, "-m", "twine", "check", "--strict", *files])
    _call([sys.executable, "-m", "check_wheel_contents", str(wheel)])
    wrong = [*contents.of_wheel(ROOT, wheel), *contents.of_sdist(ROOT, sdist)]
    if wrong:
        raise Wrong("; ".join(wrong))
    for name, digest in sorted(first.items()):
        print(f"{digest}  {name}", flush=True)
    return wheel


def try_out(what: str, wheel: Path, folder: Path, pins: Path | None, tests: Sequence[str]) -> None:
    """
    Run tests against the wheel, in a copy of the repository without `src`.

    The packages that the tests need are those of the environment of the tests, put behind the wheel, and behind the
    pinned ones if there are such. The editable install of the sources stays behind there: only an environment's own
    folder is looked through for such links.
    """
    home = folder / "environment"
    copy = folder / "repository"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    shutil.rmtree(copy / "src")
    _call([sys.executable, "-m", "venv", "--without-pip", str(home)])
    pip = [sys.executable, "-I", "-m", "pip", "--python", str(run.python(home)), "install", "--quiet", "--no-input"]
    pip += ["--disable-pip-version-check", "--no-deps"]
    if pins is not None:
        _call([*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(pins)])
    _call([*pip, "--no-index", str(wheel)])
    borrowed, _ = run.prepare(ROOT, "test")  # and held until this ends, so that no other run removes it
    ours, theirs = (_site_packages(each) for each in (home, borrowed))
    (ours / "packages_of_the_tests.pth").write_text(f"{theirs}\n")
    for module in ("safeupload", *(LOWEST if pins is not None else ())):
        place = _answer(run.python(home), f"import {module}; print({module}.__file__)", copy)
        if not Path(place).is_relative_to(ours):
            raise Wrong(f"the tests would run against {place}")
    print(f"package: the tests against {what}", flush=True)
    _call([str(run.python(home)), "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests], {}, copy)


def _committed() -> str:
    """Return the date of the last commit, in seconds since 1970."""
    done = subprocess.run(
        ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"],  # noqa: S607 - whichever git there is
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Wrong("SOURCE_DATE_EPOCH is not set, and this is no clone")
    return done.stdout.strip()


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def _site_packages(home: Path) -> Path:
    command = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(_answer(run.python(home), command, ROOT))


def _answer(python: Path, command: str, folder: Path) -> str:
    """Return what a command of Python prints."""
    line = [str(python), "-c", command]
    done = subprocess.run(line, cwd=folder, env=run.environ(os.environ), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Wrong(done.stderr.strip() or f"{python} failed")
    return done.stdout.strip()


def _call(command: Sequence[str], variables: Mapping[str, str] | None = None, folder: Path = ROOT) -> None:
    """Run a step; what it prints is shown as it comes if it is the tests, else only if it fails."""
    shown = "pytest" in command
    done = subprocess.run(
        command,
        cwd=folder,
        env={**run.environ(os.environ), "PIP_USER": "0", **(variables or {})},
        stdout=None if shown else subprocess.PIPE,
        stderr=None if shown else subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        if not shown:
            sys.stderr.write(done.stdout.decode(errors="replace"))
        raise Wrong(f"exit code {done.returncode} of {' '.join(command)}")


if __name__ == "__main__":
    sys.exit(main())
