"""The command run.py: its pure parts, its locks, and one real environment."""

import ast
import importlib.util
import os
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
RUN_PY = ROOT / "run.py"


@pytest.fixture(scope="module")
def run() -> ModuleType:
    """Import run.py from its path."""
    spec = importlib.util.spec_from_file_location("run", RUN_PY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Make a folder with the files that name an environment."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/test.txt").write_text("a==1\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    return tmp_path


@pytest.fixture
def builds(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replace the costly build by one that makes an empty environment, and list what was built."""
    built: list[Path] = []

    def build(root: Path, name: str, home: Path) -> None:
        built.append(home)
        run.python(home).parent.mkdir(parents=True, exist_ok=True)
        run.python(home).touch()
        (home / "ready").touch()

    monkeypatch.setattr(run, "build", build)
    return built


# --- the command line


@pytest.mark.parametrize("argv", [[], ["-h"], ["--help"]])
def test_usage(run: ModuleType, capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    """Without a command, or asked for help, run.py names its commands and succeeds."""
    assert run.main(argv) == 0

    output = capsys.readouterr().out

    assert all(f"\n  {command} " in output for command in ("demo", "test", "lint", "bench", "docs"))


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["demo"], ("demo", ["-m", "demo"])),
        (["demo", "--long", "a b"], ("demo", ["-m", "demo", "--long", "a b"])),
        (["test"], ("test", ["-m", "pytest"])),
        (["test", "-x", "tests/a.py"], ("test", ["-m", "pytest", "-x", "tests/a.py"])),
        (["test", "-x", "--long"], ("test", ["-m", "pytest", "-m", "long or property", "-x"])),
        (["lint"], ("lint", [])),
        (["lint", "--quick"], ("lint", ["--quick"])),
        (["package"], ("package", ["release/make.py"])),
        (["bench", "--quick"], ("bench", ["benchmarks", "--quick"])),
        (["docs"], ("docs", [])),
        (["docs", "--check"], ("docs", ["--check"])),
    ],
)
def test_parse(run: ModuleType, argv: list[str], expected: tuple[str, list[str]]) -> None:
    """Arguments are passed on in order; only the --long of the tests has a meaning of its own."""
    assert run.parse(argv) == expected


@pytest.mark.parametrize("argv", [["nonsense"], ["lint", "src"], ["docs", "src"], ["package", "dist"], ["--long"]])
def test_parse_error(run: ModuleType, capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    """A command line that makes no sense gets exit code 2 and one line."""
    assert run.main(argv) == 2

    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("version", [(3, 6, 15), (3, 10, 99)])
def test_old_python(monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int]) -> None:
    """A Python older than 3.11 is refused in one line that names both versions."""
    monkeypatch.setattr(sys, "version_info", version)

    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(RUN_PY))

    assert caught.value.code == f"run.py: needs Python 3.11 or newer; this is Python {version[0]}.{version[1]}"


def test_old_syntax() -> None:
    """A Python 3.7 can parse run.py, so that it gets as far as the refusal."""
    assert ast.parse(RUN_PY.read_text(encoding="utf-8"), feature_version=(3, 7)).body


def test_interrupt(run: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C while an environment is made ends with the shell's exit code and no traceback."""

    def interrupt(root: Path, name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "prepare", interrupt)

    assert run.main(["demo"]) == 130
    assert capsys.readouterr() == ("", "")


def test_lint_runs_every_check(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch, repository: Path, builds: list[Path]
) -> None:
    """The checks all run though the first one fails, and the worst exit code is returned."""
    seen: list[list[str]] = []

    def child(home: Path, arguments: list[str], program: str) -> int:
        seen.append([program, *arguments])
        return max(3 - len(seen), 0)

    (repository / "requirements/lint.txt").touch()
    monkeypatch.setattr(run, "ROOT", repository)
    monkeypatch.setattr(run, "run", child)
    monkeypatch.chdir(repository)

    assert run.main(["lint"]) == 2
    assert seen == list(run.CHECKS)

    seen.clear()

    assert run.main(["lint", "--quick"]) == 2
    assert seen == list(run.CHECKS[: run.QUICK])


@pytest.mark.parametrize(
    ("argv", "code", "opened"), [(["docs"], 0, 1), (["docs", "--check"], 0, 0), (["docs"], 1, 0)], ids=str
)
def test_docs_are_built_then_opened(
    run: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    repository: Path,
    builds: list[Path],
    *,
    argv: list[str],
    code: int,
    opened: int,
) -> None:
    """Sphinx builds into an empty folder, its exit code counts, and a browser sees what was built without a warning."""
    seen: list[str] = []

    def child(home: Path, arguments: list[str]) -> int:
        assert arguments[:2] == ["-m", "sphinx"]
        assert {"--fresh-env", "--nitpicky", "--fail-on-warning"} < set(arguments)
        assert not (repository / arguments[-1]).exists()
        return code

    (repository / "requirements/docs.txt").touch()
    (repository / "build/docs").mkdir(parents=True)
    monkeypatch.setattr(run, "ROOT", repository)
    monkeypatch.setattr(run, "run", child)
    monkeypatch.setattr(run.webbrowser, "open", seen.append)
    monkeypatch.chdir(repository)

    assert run.main(argv) == code
    assert seen == [(repository / "build/docs/index.html").resolve().as_uri()] * opened


def test_environ(run: ModuleType) -> None:
    """A child does not inherit what points a Python at other packages, and inherits all else."""
    outer = {"HOME": "/nonexistent", "PYTHONPATH": "x", "PYTHONHOME": "x", "PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "0"}

    assert run.environ(outer) == {"HOME": "/nonexistent", "PYTHONHASHSEED": "0"}


# --- environments


def test_locate(run: ModuleType, repository: Path) -> None:
    """The folder of an environment names its command, its Python, and its digest, and is the same each time."""
    home = run.locate(repository, "test")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"

    assert home.parent == repository / ".venv"
    assert home.name.startswith(f"test-{version}-")
    assert home == run.locate(repository, "test")


@pytest.mark.parametrize("changed", ["requirements/test.txt", "pyproject.toml"])
def test_locate_changes(run: ModuleType, repository: Path, changed: str) -> None:
    """A change of the pins or of the project's settings asks for a new environment."""
    before = run.locate(repository, "test")
    (repository / changed).write_text("changed\n")

    assert run.locate(repository, "test") != before


def test_locate_boundaries(run: ModuleType, repository: Path) -> None:
    """A line that moves from one file to the other asks for a new environment, too."""
    before = run.locate(repository, "test")
    (repository / "requirements/test.txt").write_text("a==1\n[project]\n")
    (repository / "pyproject.toml").write_text("")

    assert run.locate(repository, "test") != before


def test_locate_moved(run: ModuleType, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A repository that was moved or copied asks for new environments: the old ones point at the old place."""
    copy = tmp_path_factory.mktemp("copy") / "repository"
    shutil.copytree(repository, copy)

    assert run.locate(copy, "test").name != run.locate(repository, "test").name


def test_prepare_once(run: ModuleType, repository: Path, builds: list[Path]) -> None:
    """An environment is built by the first run and used by the second."""
    home, first = run.prepare(repository, "test")
    again, second = run.prepare(repository, "test")
    os.close(first)
    os.close(second)

    assert home == again
    assert builds == [home]


@pytest.mark.parametrize("missing", ["ready", "python"])
def test_prepare_incomplete(run: ModuleType, repository: Path, builds: list[Path], missing: str) -> None:
    """An environment without its marker, or whose Python is gone, is built again."""
    home, hold = run.prepare(repository, "test")
    os.close(hold)
    (home / "ready" if missing == "ready" else run.python(home)).unlink()

    again, hold = run.prepare(repository, "test")
    os.close(hold)

    assert builds == [home, again]
    assert run.ready(again)


def test_prepare_removes_old(run: ModuleType, repository: Path, builds: list[Path]) -> None:
    """A new environment replaces the old one of its command, half-made ones included, and no other."""
    old, hold = run.prepare(repository, "test")
    os.close(hold)
    half = old.with_name(old.name[:-12] + "half")
    other = old.with_name("test-3.1-0")
    half.mkdir()
    other.mkdir()
    (repository / "pyproject.toml").write_text("changed\n")

    new, hold = run.prepare(repository, "test")
    os.close(hold)

    assert [home.exists() for home in (old, half, other, new)] == [False, False, True, True]


def test_prepare_spares_used(run: ModuleType, repository: Path, builds: list[Path]) -> None:
    """An old environment that a run still uses stays until that run has ended."""
    old, used = run.prepare(repository, "test")
    (repository / "pyproject.toml").write_text("changed\n")
    new, hold = run.prepare(repository, "test")
    os.close(hold)

    assert run.ready(old)

    os.close(used)
    run.discard(old)

    assert not old.exists()
    assert run.ready(new)


def test_lock(run: ModuleType, tmp_path: Path) -> None:
    """A second process waits for the lock until the first lets go of it."""
    path = tmp_path / "lock"
    script = (
        "import runpy, sys; from pathlib import Path\n"
        "locked = runpy.run_path(sys.argv[1])['locked']\n"
        "print('started', flush=True)\n"
        "with locked(Path(sys.argv[2])): print('entered', flush=True)\n"
    )
    with run.locked(path):
        child = subprocess.Popen([sys.executable, "-c", script, str(RUN_PY), str(path)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        started = child.stdout.readline()
        time.sleep(0.2)
        waiting = child.poll() is None
    output, _ = child.communicate(timeout=30)

    assert started == b"started" + os.linesep.encode()
    assert waiting
    assert output == b"entered" + os.linesep.encode()


def test_no_venv_module(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], repository: Path
) -> None:
    """A Python without ensurepip, as some systems ship it, is told in one line what to install."""
    monkeypatch.setattr(run, "ROOT", repository)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ensurepip" else name)

    assert run.main(["test"]) == 2

    message = capsys.readouterr().err

    assert "python3-venv" in message
    assert len(message.splitlines()) == 1


def test_failed_step(run: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """A step that fails shows what it printed and its exit code; one that succeeds shows nothing."""
    run.quietly([sys.executable, "-c", "print('unheard')"])
    with pytest.raises(run.Failure, match="exit code 3"):
        run.quietly([sys.executable, "-c", "print('reason'); raise SystemExit(3)"])

    assert capsys.readouterr().err.splitlines() == ["reason"]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_end_to_end(run: ModuleType, tmp_path: Path) -> None:
    """Two first runs at once, in hostile surroundings, make one environment; the next run starts at once."""
    probe = [sys.executable, "-m", "pip", "download", "--quiet", "--retries=0", "--no-deps", "typing-extensions"]
    if subprocess.run(probe, cwd=tmp_path, capture_output=True, check=False, timeout=120).returncode:
        pytest.skip("no package can be downloaded here")
    copy = tmp_path / "a copy"
    for name in ("pyproject.toml", "run.py", "README.md", "LICENSE"):
        copy.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, copy)
    for name in ("requirements", "release", "src", "demo"):
        shutil.copytree(ROOT / name, copy / name)
    junk = tmp_path / "junk"
    junk.mkdir()
    (junk / "anyio.py").write_text("raise SystemExit(9)\n")
    command = [sys.executable, str(copy / "run.py"), "demo", "--help"]
    surroundings = os.environ | {"HOME": str(tmp_path / "nobody"), "PYTHONPATH": str(junk)}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, cwd=junk, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    both = [start(), start()]
    results = [child.communicate(timeout=500) for child in both]
    began = time.monotonic()
    third = start()
    output, errors = third.communicate(timeout=60)
    took = time.monotonic() - began

    assert [child.returncode for child in (*both, third)] == [0, 0, 0]
    assert sum(error.count("preparing the environment") for _, error in results) == 1
    assert "usage" in output
    assert errors == ""
    assert took < 5
    assert run.ready(run.locate(copy, "demo"))


def test_the_pins_are_complete() -> None:
    """Nothing that a package needs is missing, though pip is told not to look for more than the pins."""
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout
