"""What the lists of the mutants say is still so: which modules and tests there are, and what is explained."""

import re
import tomllib

import pytest
from mutation.mutate import HERE, ROOT, Mutant, compare, describe, read_survivors, written

MODULES = tomllib.loads((HERE / "modules.toml").read_text())
EXPLAINED = read_survivors((HERE / "survivors.md").read_text())


@pytest.mark.parametrize("name", MODULES)
def test_modules_and_their_tests_are_there(name: str) -> None:
    """The map names files that exist."""
    assert (ROOT / f"src/safeupload/{name}.py").exists()
    for test in (*MODULES[name]["tests"], *MODULES[name].get("without", ())):
        path, _, found = test.partition("::")
        assert re.search(rf"^(def|class) {found}", (ROOT / path).read_text(), re.MULTILINE)


def test_what_is_explained_is_still_there() -> None:
    """Each explanation is about lines that the module has."""
    for name, mutants in EXPLAINED.items():
        assert name in MODULES
        lines = {line.strip() for line in (ROOT / f"src/safeupload/{name}.py").read_text().splitlines()}
        for mutant in mutants:
            removed = [line[1:] for line in mutant.diff.splitlines() if line.startswith("-")]
            assert removed
            for line in removed:
                assert line in lines or line.replace("def _(", f"def {mutant.function.rpartition('.')[2]}(") in lines


GENERATED = """
class Core:
    @_mutmut_mutated(mutants)
    def leave(self, a):
        return a + 1
    def xǁCoreǁleave__mutmut_orig(self, a):
        return a + 1
    def xǁCoreǁleave__mutmut_1(self, a):
        return a - 1
    def xǁCoreǁleave__mutmut_2(self, a):
        return a + 2
def x__check__mutmut_orig(a=0):
    return a
def x__check__mutmut_1(a=1):
    return a
"""


def test_a_mutant_is_told_by_what_it_changes() -> None:
    """Not by its number, which changes with every other mutant of its function."""
    assert dict(describe(GENERATED)) == {
        "xǁCoreǁleave__mutmut_1": Mutant("Core.leave", "-return a + 1\n+return a - 1"),
        "xǁCoreǁleave__mutmut_2": Mutant("Core.leave", "-return a + 1\n+return a + 2"),
        "x__check__mutmut_1": Mutant("_check", "-def _(a=0):\n+def _(a=1):"),
    }


def test_what_survives_must_be_explained() -> None:
    """A survivor that is not on the list is told, and so is one on the list that does not survive."""
    first, second, third = (Mutant("f", f"-a\n+{name}") for name in "bcd")
    text = f"# Title\n\n## `m`\n\nA reason.\n\n```diff\n{written(first)}\n{written(second)}\n```\n"
    assert read_survivors(text) == {"m": [first, second]}

    row, left, stale = compare({first: [0, 1], second: [1], third: [33, -24]}, [first, second])

    assert row == (5, 2, 1, 1, 1)
    assert (left, stale) == ([third], [second])
