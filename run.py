#!/usr/bin/env python3
"""
Run the demo, the tests, or the checks of safeupload in a private environment.

usage: python3 run.py COMMAND [ARGUMENTS]

  demo [ARGUMENTS]               start the example for FastAPI, and open a page to try safeupload on; --check goes
                                 through everything without a browser, --help tells the rest
  test [--long] [ARGUMENTS]      run the tests; --long runs the long explorations instead; ARGUMENTS go to pytest,
                                 paths in them are relative to the repository
  lint [--quick]                 check style, format, imports, and workflows; without --quick, types as well
  mutate [MODULE...]             change the code in small ways, and list what no test notices; --help tells the rest
  package                        build the files of a release into dist/, and test them as they will be installed
  bench [ARGUMENTS]              measure what it all costs, beside others; --quick takes a look, --help tells the rest
  docs [--check]                 build the documentation and open it in a browser; --check builds it, nothing else

The first run of a command makes an environment in .venv/ from requirements/COMMAND.txt (wheels only, each checked
against its pinned hash). Later runs start at once; a change of the requirements or of pyproject.toml makes a new one.
Needs Python 3.11 or newer, nothing else.
"""

# No syntax newer than Python 3.6 in this file: an old Python must get as far as the check below.
import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import webbrowser
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

if sys.version_info < (3, 11):  # noqa: UP036  (an old Python runs this line, whatever pyproject.toml says)
    sys.exit("run.py: needs Python 3.11 or newer; this is Python {}.{}".format(*sys.version_info[:2]))

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

ROOT = Path(__file__).resolve().parent
PYTHON = "{}.{}".format(*sys.version_info[:2])
CHECKS = (
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["lint-imports", "--no-logo", "--no-cache"],
    ["zizmor", "--offline", "--quiet", "--persona=pedantic", ".github"],
    ["mypy"],
    # Each Python there may be, and each system: what an application's own type checker says of us.
    *(
        ["mypy", "--config-file=typing_tests/mypy.ini", "--python-version", version, "--platform", system]
        for version, system in (("3.11", "linux"), ("3.12", "darwin"), ("3.13", "win32"), ("3.14", "linux"))
    ),
    ["basedpyright"],
    ["basedpyright", "--verifytypes", "safeupload", "--ignoreexternal"],
)
QUICK = 4  # of the checks: those that take seconds, for a hook before each commit
WRONG = {
    "lint": "lint takes no argument but --quick",
    "package": "package takes no arguments",
    "docs": "docs takes no argument but --check",
}
PAGES = "build/docs"
# Everything anew, since pages that did not change would keep their warnings to themselves.
SPHINX = ["sphinx", "--fresh-env", "--nitpicky", "--fail-on-warning", "--keep-going", "--quiet", "docs", PAGES]
INTERRUPTED = 130  # what a shell reports for a program ended by Ctrl-C


def main(argv: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print((__doc__ or "").strip())
        return 0
    try:
        name, arguments = parse(argv)
        home, hold = prepare(ROOT, name)
        os.chdir(ROOT)
        if name == "lint":  # every check, whatever the first one says; the exit code is the worst one
            checks = CHECKS[:QUICK] if arguments else CHECKS
            return max(abs(run(home, check, program)) for program, *check in checks)
        if name == "docs":
            return docs(home, browse="--check" not in arguments)
        become(home, arguments, hold)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (Failure, OSError) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2


class Failure(Exception):
    """Something the user has to know, in one line."""


def parse(argv: Sequence[str]) -> tuple[str, list[str]]:
    """Turn the command line into the name of a command and the arguments of the Python that runs it."""
    name, *rest = argv
    if name == "demo":
        return name, ["-m", "demo", *rest]
    if name == "test":
        long = ["-m", "long or property"] if "--long" in rest else []
        return name, ["-m", "pytest", *long, *(word for word in rest if word != "--long")]
    if name == "bench":
        return name, ["benchmarks", *rest]
    if name == "mutate":
        return name, ["tests/mutation/mutate.py", *rest]
    if name == "package" and not rest:
        return name, ["release/make.py"]
    if name == "docs" and rest in ([], ["--check"]):
        return name, rest
    if name == "lint" and rest in ([], ["--quick"]):
        return name, rest
    raise Failure(WRONG.get(name, f"no command {name!r}; see python3 run.py --help"))


# An environment is a folder .venv/NAME-PYTHON-DIGEST. It is complete once it holds the file "ready", and is from then
# on only used or removed. Whoever uses it keeps that file open and locked; whoever makes or removes one holds a lock
# on .venv/NAME-PYTHON.lock.


def locate(root: Path, name: str) -> Path:
    """Return the folder of an environment; its name changes with everything that it is made from."""
    digest = hashlib.sha256()
    for part in (
        os.fsencode(root),  # the editable install points here
        f"{sysconfig.get_config_var('EXT_SUFFIX')} {sysconfig.get_platform()}".encode(),
        (root / "requirements" / f"{name}.txt").read_bytes(),
        (root / "pyproject.toml").read_bytes(),
    ):
        digest.update(b"%d:%b" % (len(part), part))
    return root / ".venv" / f"{name}-{PYTHON}-{digest.hexdigest()[:12]}"


def python(home: Path) -> Path:
    """Return the Python of an environment."""
    return home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def prepare(root: Path, name: str) -> tuple[Path, int]:
    """Return an environment, made if need be, and the descriptor that keeps other runs from removing it."""
    home = locate(root, name)
    hold = enter(home)
    while hold is None:
        home.parent.mkdir(exist_ok=True)
        with locked(home.parent / f"{name}-{PYTHON}.lock"):
            if not ready(home):
                build(root, name, home)
            for old in home.parent.glob(f"{name}-{PYTHON}-*/"):
                if old != home:
                    discard(old)
        hold = enter(home)
    return home, hold


def ready(home: Path) -> bool:
    """Tell whether an environment is complete and the Python under it is still installed."""
    return (home / "ready").exists() and python(home).exists()


def enter(home: Path) -> int | None:
    """Return an open descriptor on the marker of a complete environment; while it is open, nobody removes that."""
    if not ready(home):
        return None
    try:
        hold = os.open(home / "ready", os.O_RDONLY)
    except FileNotFoundError:
        return None
    if sys.platform != "win32":  # there, an open file cannot be removed anyway
        fcntl.flock(hold, fcntl.LOCK_SH)
    if os.fstat(hold).st_nlink:
        return hold
    os.close(hold)  # removed while we waited
    return None


def discard(home: Path) -> None:
    """Remove an environment unless a process runs in it; the caller holds the lock of its kind."""
    marker = home / "ready"
    with contextlib.suppress(BlockingIOError, PermissionError):
        if sys.platform != "win32" and marker.exists():
            with marker.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                marker.unlink()
        marker.unlink(missing_ok=True)  # before the rest: half an environment must not look complete
        shutil.rmtree(home)


def build(root: Path, name: str, home: Path) -> None:
    """Make an environment; the marker comes last, so that a killed run leaves nothing that the next one believes."""
    if not all(importlib.util.find_spec(module) for module in ("venv", "ensurepip")):
        raise Failure("this Python has no venv module; on Debian and Ubuntu: apt install python3-venv")
    print(f"run.py: preparing the environment of {name!r}, this once", file=sys.stderr, flush=True)
    if home.exists():
        shutil.rmtree(home)
    quietly([sys.executable, "-I", "-m", "venv", str(home)])
    pip = [str(python(home)), "-I", "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    # The requirements are complete. Left to resolve them, an old pip takes "coverage[toml]" for something unpinned as
    # soon as there is a newer coverage than the pinned one.
    pinned = ["--require-hashes", "--no-deps", "--only-binary", ":all:"]
    wheels = [*pinned, "-r", str(root / "requirements" / f"{name}.txt")]
    project = ["--no-index", "--no-deps", "--no-build-isolation", "--editable", str(root)]
    quietly([*pip, *wheels])
    quietly([*pip, *project])
    (home / "ready").touch()


@contextlib.contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold a lock between processes; it ends with the process, whatever ends that."""
    with path.open("a+b") as file:
        if sys.platform == "win32":
            file.seek(0)
            while True:
                with contextlib.suppress(OSError):  # after ten seconds of waiting
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                    break
        else:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def environ(outer: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of a child: ours without what points a Python at other people's packages."""
    unwanted = ("PYTHONHOME", "PYTHONPATH", "PYTHONSAFEPATH", "__PYVENV_LAUNCHER__")
    return {name: value for name, value in outer.items() if name not in unwanted}


def quietly(command: Sequence[str]) -> None:
    """Run a step of a build; show what it printed only if it fails."""
    # Two of pip's settings that a user may have made for all of pip, and that cannot hold in here.
    variables = environ(os.environ) | {"PIP_USER": "0", "PIP_REQUIRE_HASHES": "0"}
    done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout.decode(errors="replace"))
        raise Failure(f"could not prepare the environment: exit code {done.returncode} of {' '.join(command)}")


def run(home: Path, arguments: Sequence[str], program: str = "python") -> int:
    """Run the Python of an environment, or another program of it, and return its exit code."""
    # First on the path, so that a type checker asks this Python what is installed.
    path = {"PATH": os.pathsep.join((str(python(home).parent), os.environ.get("PATH", os.defpath)))}
    executable = str(python(home).with_stem(program))
    return subprocess.run([executable, *arguments], env=environ(os.environ) | path, check=False).returncode


def docs(home: Path, *, browse: bool) -> int:
    """Build the documentation, in which every warning is an error, and open it if so asked; return the exit code."""
    if Path(PAGES).exists():
        shutil.rmtree(PAGES)  # a page that is no more must not be there to be found
    code = run(home, ["-m", *SPHINX])
    index = Path(PAGES, "index.html").resolve()
    if code == 0:
        print(f"run.py: the documentation is {index}")
        if browse:
            webbrowser.open(index.as_uri())
    return code


def become(home: Path, arguments: Sequence[str], hold: int) -> NoReturn:
    """Replace this process by the Python of an environment: signals and the exit code need no passing on."""
    if sys.platform == "win32":
        sys.exit(run(home, arguments))
    os.set_inheritable(hold, True)  # noqa: FBT003  (its lock lasts as long as the new program)
    os.execve(python(home), [str(python(home)), *arguments], environ(os.environ))  # noqa: S606  (no shell is meant)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
