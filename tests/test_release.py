"""What looks at the files of a release sees what is wrong with them."""

import io
import tarfile
import zipfile
from pathlib import Path

import contents
import pytest
import readme

INFO = "safeupload-1.0.dist-info"
METADATA = """\
Metadata-Version: 2.4
Name: safeupload
Version: 1.0
License-Expression: MIT
Requires-Python: >=3.11
Provides-Extra: cli
Provides-Extra: heif
Provides-Extra: s3
Provides-Extra: testing
Description-Content-Type: text/markdown

# A README
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a small repository."""
    package = tmp_path / "repository/src/safeupload"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "py.typed").touch()
    root = package.parent.parent
    (root / "pyproject.toml").write_text('[project]\nname = "safeupload"\nversion = "1.0"\n')
    (root / "README.md").write_text("# A README\n")
    (root / "LICENSE").write_text("MIT\n")
    return root


def wheel(folder: Path, **changes: str | None) -> Path:
    """Make a wheel that is right but for the changes; None leaves a file out."""
    files: dict[str, str | None] = {"safeupload/__init__.py": "", "safeupload/py.typed": ""}
    files |= {
        f"{INFO}/METADATA": METADATA,
        f"{INFO}/RECORD": "",
        f"{INFO}/WHEEL": "",
        f"{INFO}/licenses/LICENSE": "MIT\n",
    }
    path = folder / "safeupload-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in (files | changes).items():
            if text is not None:
                archive.writestr(name, text)
    return path


def test_a_wheel_that_is_right(root: Path, tmp_path: Path) -> None:
    """Nothing is said of it."""
    assert list(contents.of_wheel(root, wheel(tmp_path))) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"safeupload/py.typed": None}, "the wheel lacks safeupload/py.typed"),
        ({"safeupload/__init__.py": None}, "the wheel lacks safeupload/__init__.py"),
        ({"safeupload/__init__.py": "x = 1"}, "the wheel has another safeupload/__init__.py"),
        ({"tests/test_x.py": ""}, "the wheel has tests/test_x.py as well"),
        ({f"{INFO}/licenses/LICENSE": "GPL"}, "the wheel's license is another one"),
        ({f"{INFO}/METADATA": METADATA.replace("Version: 1.0", "Version: 1.1")}, "Version: 1.1, not 1.0"),
        ({f"{INFO}/METADATA": METADATA.replace("Provides-Extra: s3\n", "")}, "the extras are cli, heif, testing"),
        ({f"{INFO}/METADATA": METADATA.replace("README", "page")}, "the description is not the README"),
        ({f"{INFO}/METADATA": METADATA + "[A](docs/a.md)"}, "a link to docs/a.md, which leads nowhere"),
        ({f"{INFO}/METADATA": METADATA + "[a]: docs/b.md"}, "a link to docs/b.md, which leads nowhere"),
        ({f"{INFO}/METADATA": METADATA + '<img src="docs/c.png">'}, "a link to docs/c.png, which leads nowhere"),
        ({f"{INFO}/METADATA": METADATA.replace("2.4", "2.5")}, "Metadata-Version: 2.5, not 2.4"),
    ],
    ids=[
        "no py.typed",
        "no module",
        "another",
        "tests",
        "license",
        "version",
        "extra",
        "readme",
        "link",
        "reference",
        "html",
        "metadata",
    ],
)
def test_a_wheel_that_is_wrong(root: Path, tmp_path: Path, changes: dict[str, str | None], said: str) -> None:
    """What is wrong with it is said."""
    assert any(said in each for each in contents.of_wheel(root, wheel(tmp_path, **changes)))


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("[A page](docs/a.md#part), and [`b`](../b)", "A page, and `b`"),
        ("[A site](https://example.org/a), [another](http://example.org)", None),
        ("`rows[0]`, rows [0] (the first)", None),
    ],
    ids=["relative", "absolute", "none"],
)
def test_the_page_of_an_index(page: str, expected: str | None) -> None:
    """A relative link becomes its text; all else stays as it is."""
    assert readme.alone(page) == (page if expected is None else expected)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("notes.txt", "has notes.txt as well"),
        ("src/gone.py", "has safeupload-1.0/src/gone.py, of which there is no original"),
        ("src/__pycache__/x.pyc", "has safeupload-1.0/src/__pycache__/x.pyc"),
    ],
)
def test_an_sdist_that_holds_too_much(root: Path, tmp_path: Path, name: str, said: str) -> None:
    """What does not belong into it is told, and so is what is missing."""
    path = tmp_path / "safeupload-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for each in (
            *sorted(contents.FILES),
            *(f"{folder}/x" for folder in sorted(contents.FOLDERS)),
            "PKG-INFO",
            name,
        ):
            (root / each).parent.mkdir(parents=True, exist_ok=True)
            if each not in {"PKG-INFO", "src/gone.py"}:
                (root / each).touch()
            archive.addfile(tarfile.TarInfo(f"safeupload-1.0/{each}"), io.BytesIO())

    assert sorted(contents.of_sdist(root, path)) == [f"the sdist {said}", "the sdist lacks .gitignore"]
