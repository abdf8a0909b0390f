"""What the files of a release must hold, and must not."""

import re
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

from readme import alone

#: Where a link of Markdown leads, `[text](target)` or `[name]: target`, or one of HTML.
LINK = re.compile(r"""(?:\]\(|^\[[^\]]+\]:\s+|\b(?:href|src)=["'])([^\s)"']*)""", re.MULTILINE)
EXTRAS = {"cli", "heif", "s3", "testing"}
#: Folders of the repository that a packager or a curious user finds in the sdist.
FOLDERS = {
    ".ci",
    ".github",
    "benchmarks",
    "demo",
    "docs",
    "examples",
    "release",
    "requirements",
    "src",
    "tests",
    "typing_tests",
}
FILES = {
    ".pre-commit-config.yaml",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "pyproject.toml",
    "run.py",
}


def of_wheel(root: Path, wheel: Path) -> Iterator[str]:
    """Tell what is wrong with a wheel: it holds the package, `py.typed` and the license, and nothing else."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = f"{project['name']}-{project['version']}.dist-info"
    if wheel.name != f"{project['name']}-{project['version']}-py3-none-any.whl":
        yield f"the wheel is called {wheel.name}"
    package = root / "src" / project["name"]
    expected = {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")}
    expected |= {
        path.relative_to(root / "src").as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        found = set(archive.namelist())
        yield from (f"the wheel lacks {name}" for name in sorted(expected - found))
        yield from (f"the wheel has {name} as well" for name in sorted(found - expected))
        for name in sorted(name for name in expected & found if not name.startswith(info)):
            if archive.read(name) != (root / "src" / name).read_bytes():
                yield f"the wheel has another {name}"
        if f"{project['name']}/py.typed" not in found:
            yield "the wheel has no py.typed"
        metadata = archive.read(f"{info}/METADATA") if f"{info}/METADATA" in found else b""
        license_file = f"{info}/licenses/LICENSE"
        if license_file in found and archive.read(license_file) != (root / "LICENSE").read_bytes():
            yield "the wheel's license is another one"
    yield from of_metadata(metadata, (root / "README.md").read_text(encoding="utf-8"), project["version"])


def of_metadata(metadata: bytes, readme: str, version: str) -> Iterator[str]:
    """Tell what is wrong with the metadata."""
    message = message_from_bytes(metadata)
    wanted = {"Name": "safeupload", "Version": version, "License-Expression": "MIT", "Requires-Python": ">=3.11"}
    wanted["Description-Content-Type"] = "text/markdown"
    wanted["Metadata-Version"] = "2.4"  # tools that upload refuse what is newer than they are
    for name, value in wanted.items():
        if message[name] != value:
            yield f"the metadata have {name}: {message[name]}, not {value}"
    extras = set(message.get_all("Provides-Extra", []))
    if extras != EXTRAS:
        yield f"the extras are {', '.join(sorted(extras))}"
    payload = message.get_payload(decode=True)
    description = payload.decode("utf-8") if isinstance(payload, bytes) else ""
    if description.strip() != alone(readme).strip():
        yield "the description is not the README"
    for target in LINK.findall(description):
        if not target.startswith("https://"):
            yield f"the description has a link to {target}, which leads nowhere"


def of_sdist(root: Path, sdist: Path) -> Iterator[str]:
    """Tell what is wrong with an sdist: it holds what belongs to the repository, from which it was built."""
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    parts = [Path(member.name).parts for member in members]
    folder = sdist.name.removesuffix(".tar.gz")
    if {each[0] for each in parts} != {folder}:
        yield "the sdist has more than one folder"
    found = {each[1] for each in parts if len(each) > 1}
    expected = FOLDERS | FILES | {"PKG-INFO", ".gitignore"}
    yield from (f"the sdist lacks {name}" for name in sorted(expected - found))
    yield from (f"the sdist has {name} as well" for name in sorted(found - expected))
    yield from (f"{member.name} in the sdist is no plain file" for member in members if not member.isfile())
    for each in parts:
        if not root.joinpath(*each[1:]).exists() and each[1:] != ("PKG-INFO",):
            yield f"the sdist has {'/'.join(each)}, of which there is no original"
        if {"__pycache__", "node_modules", "build", ".env"} & set(each):
            yield f"the sdist has {'/'.join(each)}"
