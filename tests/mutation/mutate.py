"""
Change the library in small ways, one at a time, and see whether its tests notice.

usage: python3 run.py mutate [--again] [--write] [MODULE...]

A module is named as in `modules.toml`, which says what tests it: "_machine", "storage/leases". Without a name, all of
them are done, which takes hours. What no test notices must be in `survivors.md`, with the reason.

  --again   keep what was found in the folder .mutation/ before, and try only what no test has noticed so far
  --write   print what survives in the form of `survivors.md`

mutmut works in a copy of the tree, below .mutation/; the tests of a module run in one process, repeatably.
"""

import ast
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

if sys.platform != "win32":
    import resource

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent.parent
WORK: Final = ROOT / ".mutation"

#: A mutant that collects without end must not take the machine with it.
_MEMORY: Final = 4 << 30
#: Seconds that all tests of a module may take.
_LONGEST: Final = 300
#: What mutmut's exit codes mean: see its `stats.py`.
_KILLED: Final = {1, 3}
_STOPPED: Final = {-24, 24, 36, 152, 255, -9, -11}  # took too long, or crashed the interpreter

_SETTINGS: Final[dict[str, Any]] = {
    "source_paths": ["src"],
    "also_copy": ["docs", "examples"],
    # Texts that people read are not asserted word by word: messages of errors.
    "do_not_mutate_patterns": [r'raise \w+\(f?["\']', r"with _?reporting\("],
    "pytest_add_cli_args": ["-n0", "-p", "no:cacheprovider"],
    "timeout_constant": 1.0,
    "timeout_multiplier": 6.0,
    "on_dependency_change": "ignore",
}


class Mutant(NamedTuple):
    """One change: in which function, and which lines it replaces by which."""

    function: str
    diff: str


def main(arguments: list[str]) -> int:
    """Mutate some modules, print a table, and return 1 if something survives that is not explained."""
    if "--help" in arguments:
        print((__doc__ or "").strip())
        return 0
    modules = tomllib.loads((HERE / "modules.toml").read_text())
    names = [name for name in arguments if not name.startswith("--")]
    unknown = {*names} - modules.keys() | {word for word in arguments if word.startswith("--")} - {"--again", "--write"}
    if unknown:
        print(f"unknown: {' '.join(sorted(unknown))}; modules are {' '.join(modules)}", file=sys.stderr)
        return 2
    explained = read_survivors((HERE / "survivors.md").read_text())
    rows, problems = [], 0
    for name in names or modules:
        print(f"== {name}", flush=True)
        verdicts = mutate(name, modules[name], explained.get(name, []), again="--again" in arguments)
        row, left, stale = compare(verdicts, explained.get(name, []))
        rows.append((name, *row))
        problems += len(left) + len(stale)
        for title, mutants in (("survives", left), ("is explained, but does not survive", stale)):
            for mutant in mutants:
                print(f"-- {title}:\n{written(mutant)}" if "--write" in arguments else f"-- {title}: {mutant}")
    print("| Module | Mutants | Killed | Stopped | Explained | Open |\n|---|--:|--:|--:|--:|--:|")
    for row in [*rows, ("all", *(sum(column) for column in zip(*(row[1:] for row in rows), strict=True)))]:
        print("|", " | ".join(map(str, row)), "|")
    return 1 if problems else 0


def mutate(name: str, module: dict[str, Any], explained: Collection[Mutant], *, again: bool) -> dict[Mutant, list[int]]:
    """Let mutmut try every mutant of a module, and return the exit codes of the tests."""
    home = WORK / name.replace("/", ".")
    if not again:
        shutil.rmtree(home, ignore_errors=True)
    for folder in ("docs", "examples", "src", "tests"):
        shutil.rmtree(home / folder, ignore_errors=True)
        shutil.copytree(ROOT / folder, home / folder, ignore=shutil.ignore_patterns("__pycache__"))
    source = f"src/safeupload/{name}.py"
    tests = [*module["tests"], *(f"--deselect={test}" for test in module.get("without", ()))]
    settings = _SETTINGS | {
        "only_mutate": [source],
        "pytest_add_cli_args_test_selection": tests,
        "process_isolation": module.get("isolation", "fork"),
    }
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    (home / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text() + "\n[tool.mutmut]\n" + lines)
    meta = home / "mutants" / f"{source}.meta"
    if meta.exists():  # mutmut would keep every verdict
        known = json.loads(meta.read_text())
        codes = known["exit_code_by_key"]
        known["exit_code_by_key"] = {key: code if code in _KILLED else None for key, code in codes.items()}
        meta.write_text(json.dumps(known))
        (home / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)  # which tests go through which function
    subprocess.run(
        [Path(sys.executable).with_name("mutmut"), "run", "--max-children=1"],
        cwd=home,
        env=os.environ | {"CI": "1"},  # which makes the property tests repeat themselves
        preexec_fn=_bound_memory,
        stdout=(home / "log").open("w"),
        check=True,
    )
    known = json.loads(meta.read_text())
    codes = known["exit_code_by_key"]
    described = dict(describe((home / "mutants" / source).read_text()))
    for key, code in codes.items():
        if code not in _KILLED and described[key.rpartition(".")[2]] not in explained:
            codes[key] = confirmed(key, home / "mutants", tests)
    meta.write_text(json.dumps(known))
    verdicts: dict[Mutant, list[int]] = {}
    for key, code in codes.items():
        verdicts.setdefault(described[key.rpartition(".")[2]], []).append(code)
    return verdicts


def confirmed(key: str, home: Path, tests: list[str]) -> int:
    """
    Return the exit code of all tests of a module with one mutant, in a process of their own.

    mutmut runs those alone that it has seen to go through the function, and may have missed one; and it forks, which
    threads do not survive.
    """
    command = [sys.executable, "-m", "pytest", "-x", "-q", *_SETTINGS["pytest_add_cli_args"], *tests]
    variables = os.environ | {"CI": "1", "MUTANT_UNDER_TEST": key, "PYTHONPATH": "src"}
    try:
        return subprocess.run(
            command, cwd=home, env=variables, preexec_fn=_bound_memory, stdout=subprocess.DEVNULL, check=False,
            timeout=_LONGEST,
        ).returncode  # fmt: skip
    except subprocess.TimeoutExpired:
        return -24  # as mutmut's


def _bound_memory() -> None:
    if sys.platform != "win32":
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


def describe(text: str) -> Iterator[tuple[str, Mutant]]:
    """Yield the name of each mutated function in a file that mutmut has written, and what is changed in it."""
    lines = text.splitlines()
    found: dict[str, list[str]] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and "__mutmut_" in node.name:
            found[node.name] = [line.strip() for line in lines[node.lineno : node.end_lineno]]
            found[node.name].insert(0, lines[node.lineno - 1].strip().replace(node.name, "_"))
    for name, body in found.items():
        original, _, number = name.rpartition("__mutmut_")
        if number != "orig":
            changes = list(difflib.unified_diff(found[f"{original}__mutmut_orig"], body, n=0, lineterm=""))[2:]
            diff = "\n".join(line for line in changes if not line.startswith("@@"))
            yield name, Mutant(re.sub("^x_?", "", original).strip("ǁ").replace("ǁ", "."), diff)


def read_survivors(text: str) -> dict[str, list[Mutant]]:
    """Return what is explained, by module: under a heading, blocks of changes, each of which names its function."""
    found: dict[str, list[Mutant]] = {}
    module, function, inside = "", "", False
    for line in text.splitlines():
        if line.startswith("## "):
            module = line.removeprefix("## ").strip("`")
        elif line.startswith("```"):
            inside = line == "```diff"
        elif inside and line.startswith("@@ "):
            function = line.removeprefix("@@ ")
            found.setdefault(module, []).append(Mutant(function, ""))
        elif inside:
            last = found[module].pop()
            found[module].append(Mutant(function, f"{last.diff}\n{line}".lstrip("\n")))
    return found


def compare(
    verdicts: Mapping[Mutant, list[int]], explained: Iterable[Mutant]
) -> tuple[tuple[int, ...], list[Mutant], list[Mutant]]:
    """Return the numbers of a module, what survives unexplained, and what is explained without need."""
    reasons = set(explained)
    counts: Counter[str] = Counter()
    left = []
    for mutant, codes in verdicts.items():
        for code in codes:
            verdict = "killed" if code in _KILLED else "stopped" if code in _STOPPED else "survived"
            if verdict == "survived":
                verdict = "explained" if mutant in reasons else "open"
            counts[verdict] += 1
            if verdict == "open":
                left.append(mutant)
    survived = {mutant for mutant, codes in verdicts.items() if not {*codes} <= _KILLED}
    row = (counts.total(), *(counts[verdict] for verdict in ("killed", "stopped", "explained", "open")))
    return row, left, sorted(reasons - survived)


def written(mutant: Mutant) -> str:
    """Return a mutant in the form of the list."""
    return f"@@ {mutant.function}\n{mutant.diff}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
