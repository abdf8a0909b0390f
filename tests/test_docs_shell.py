"""What the pages tell to type into a shell exists: commands, their options, files, extras and groups."""

import argparse
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
from pages import DOCS, PAGES, ROOT, Block, blocks

from safeupload._cli.main import _parser

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SHELL = [block for page in PAGES for block in blocks(page) if block.language in {"sh", "console"}]
#: Commands of the system, which no test of ours can say more about.
SYSTEM = {
    "apt",
    "apt-get",
    "cd",
    "curl",
    "echo",
    "git",
    "jq",
    "mkdir",
    "mv",
    "sort",
    "uniq",
    "uv",
    "xargs",
}
#: Servers, which are given an application as MODULE:NAME.
SERVERS = {"flask", "gunicorn", "uvicorn"}
CRON = re.compile(r"[*/\d,-]+(?: [*/\d,-]+){4} +")


def run_py() -> ModuleType:
    """Import run.py from its path."""
    spec = importlib.util.spec_from_file_location("run", ROOT / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands(block: Block) -> Iterator[list[str]]:
    """Yield the words of each command of a block."""
    lines = block.source.replace("\\\n", " ").splitlines()
    if block.language == "console":
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    for line in lines:
        lexer = shlex.shlex(CRON.sub("", line), posix=True, punctuation_chars="&|;<>")
        lexer.whitespace_split = True
        words: list[str] = []
        skip = False
        for word in [*lexer, ";"]:
            if set(word) <= set("<>"):
                skip = True  # the file behind it
            elif set(word) <= set("&|;"):
                if words:
                    yield words
                words = []
            elif not skip and (words or not re.match(r"[A-Za-z_]+=", word)):
                words.append(word)
            else:
                skip = False


def subcommands() -> dict[str, argparse.ArgumentParser]:
    """Return the commands of the command line."""
    chosen = [action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(chosen[0].choices)


def options(parser: argparse.ArgumentParser) -> set[str]:
    """Return the long options of a command."""
    return {name for action in parser._actions for name in action.option_strings if name.startswith("--")} - {"--help"}


def complaint(words: list[str]) -> str:
    """Return what is wrong with a command, nothing if it is fine."""
    name, *rest = words
    if re.fullmatch(r"(\.venv/bin/)?python(3(\.\d+)?)?", name):
        return of_python(rest)
    if name == "pip":
        extras = {extra for word in rest for extra in re.findall(r"\.\[(.+)\]", word)}
        groups = {after for word, after in pairwise(rest) if word == "--group"}
        unknown = (extras - set(PROJECT["project"]["optional-dependencies"])) | (
            groups - set(PROJECT["dependency-groups"])
        )
        return f"no extra or group {unknown}" if unknown or rest[0] != "install" else ""
    if name in SERVERS:
        modules = [word.partition(":")[0].replace(".", "/") for word in rest if ":" in word]
        gone = [
            each for each in modules if not [*ROOT.glob(f"examples/{each}.py"), *ROOT.glob(f"examples/*/{each}.py")]
        ]
        return f"no application {gone}" if gone else ""
    if name in SYSTEM or (ROOT / name).exists():
        return ""
    return f"no command {name!r} is known"


def of_python(rest: list[str]) -> str:
    """Return what is wrong with the arguments of Python."""
    if rest[:2] == ["-m", "safeupload"]:
        known = subcommands()
        if rest[2] not in known:
            return f"safeupload has no command {rest[2]!r}"
        unknown = {word for word in rest[3:] if word.startswith("--")} - options(known[rest[2]])
        return f"safeupload {rest[2]} has no {unknown}" if unknown else ""
    if rest[0] == "-m":
        module = rest[1].replace(".", "/")
        places = [ROOT / module, ROOT / "examples" / f"{module}.py"]
        return "" if any(place.exists() for place in places) else f"no module {rest[1]!r}"
    if rest == ["run.py", "--help"]:
        return ""
    if rest[0] == "run.py":
        run = run_py()
        try:
            run.parse(rest[1:])
        except run.Failure as error:
            return str(error)
        return ""
    return "" if (ROOT / rest[0]).exists() else f"no file {rest[0]!r}"


INLINE = re.compile(r"(?<!`)`((?:python3?(?:\.\d+)?\s+)?(?:-m\s+safeupload|run\.py) [^`]+)`(?!`)")


def inline(page: Path) -> list[Block]:
    """Return the commands of ours that the text of a page has between backticks, without its blocks of code."""
    text = re.sub(r"^( *)(`{3,}|~{3,}).*?^\1\2 *$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [
        Block(page, 0, "sh", re.sub(r"^(python\S* )?", "python ", " ".join(found.split())).replace("...", "x") + "\n")
        for found in INLINE.findall(text)
    ]


@pytest.mark.parametrize("page", [page for page in PAGES if inline(page)], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_the_text_exists(page: Path) -> None:
    """What a sentence names could be typed as well."""
    found = [words for block in inline(page) for words in commands(block)]

    assert found
    assert [(words, said) for words in found if (said := complaint(words))] == []


def test_a_mistake_in_the_text_is_found(tmp_path: Path) -> None:
    """A command that is not there, also where the line ends within it; what a block of code has is told by others."""
    page = tmp_path / "page.md"
    page.write_text("The files of `python -m\nsafeupload samples`, `run.py tset`.\n\n```sh\nsfaeupload x\n```\n")
    found = [words for block in inline(page) for words in commands(block)]

    assert len([said for said in map(complaint, found) if said]) == len(found) == 2


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_every_command_exists(block: Block) -> None:
    """A block has commands, and each of them could be typed."""
    found = list(commands(block))

    assert found
    assert [said for said in map(complaint, found) if said] == []


@pytest.mark.parametrize(
    "line",
    [
        "python -m safeupload chekc x.jpg",
        "cd x && python -m safeupload check --nonsense x.jpg",
        "FORMAT=1 python -m safeupload sweep app:uploads --dryrun > log",
        "python3 run.py tset",
        "python3 run.py docs --open",
        "pip install '.[nonsense]'",
        "pip install . --group nonsense",
        "*/5 * * * *  cd /srv && python -m safeupload recovr app:uploads",
        "uvicorn fastapi_example.nonsense:app",
        "python benchmarks/nonsense.py",
        "sfaeupload check",
    ],
)
def test_a_mistake_is_found(line: str) -> None:
    """What cannot be typed is told."""
    found = commands(Block(Path("page.md"), 1, "sh", line + "\n"))

    assert len([said for said in map(complaint, found) if said]) == 1


def test_the_page_has_every_command_and_every_option() -> None:
    """The page about the command line has a section for each command, with all its options and no other."""
    page = (DOCS / "reference/command-line.md").read_text()
    known = subcommands()
    limits = options(known["check"]) - {"--json"}

    for name, parser in known.items():
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        cells = re.findall(r"^\| (`--[^|]+) \|", section, re.MULTILINE)
        told = {option for cell in cells for option in re.findall(r"`(--[\w-]+)", cell)}
        assert told | (limits if "besides the limits of `check`" in section else set()) == options(parser), name
