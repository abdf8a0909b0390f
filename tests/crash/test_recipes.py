"""Many replace one picture at once: by every recipe of the documentation nothing is left over or removed twice."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import recipes


def check(application: recipes.Application, released: list[str], replaces: int) -> None:
    """Check that each old file was removed once, and exactly the last new one is there."""
    assert Counter(Counter(released).values()) == {1: replaces - 1}
    assert list(application.storage.keys()) == application.named()
    assert list(application.storage.marks()) == []


@pytest.fixture
def application(tmp_path: Path) -> recipes.Application:
    """Give an application with one user."""
    application = recipes.Application(tmp_path)
    application.set_up()
    return application


def by_threads(application: recipes.Application, recipe: str, replaces: int) -> None:
    """Eight threads."""
    recipes.race(application, recipes.RECIPES[recipe], 8, replaces)
    check(application, application.released, 8 * replaces)


def by_processes(application: recipes.Application, recipe: str, replaces: int) -> None:
    """Eight processes."""
    here = Path(recipes.__file__)
    environment = {**os.environ, "PYTHONPATH": str(here.parent)}
    command = [sys.executable, str(here), recipe, str(application.path.parent), str(replaces)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(8)]
    released: list[str] = []
    for process in processes:
        out, _ = process.communicate()
        assert process.returncode == 0
        released += json.loads(out)
    check(application, released, 8 * replaces)


@pytest.mark.parametrize("recipe", recipes.RECIPES)
def test_no_recipe_leaks_by_threads(application: recipes.Application, recipe: str) -> None:
    """Eight threads of one process."""
    by_threads(application, recipe, 6)


@pytest.mark.parametrize("recipe", ["compare_and_swap"])
def test_no_recipe_leaks_by_processes(application: recipes.Application, recipe: str) -> None:
    """Eight processes."""
    by_processes(application, recipe, 6)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("recipe", recipes.RECIPES)
@pytest.mark.parametrize("many", [by_threads, by_processes], ids=["threads", "processes"])
def test_no_recipe_leaks_for_long(application: recipes.Application, recipe: str, many: object) -> None:
    """The same, fifty times each."""
    assert callable(many)
    many(application, recipe, 50)


def test_the_wrong_way_leaks(application: recipes.Application) -> None:
    """Reading without a lock leaves files that no row names; the library tells some, `sweep` finds all."""
    replaces = 25
    told = recipes.race(application, recipes.unlocked, 8, replaces)["NotCommitted"]
    files = len(list(application.storage.keys()))

    assert files > 1
    application.uploads.recover(min_age=0)
    leaked = len(list(application.storage.keys())) - 1
    assert set(application.named()) <= set(application.storage.keys())  # nothing is lost, though
    application.uploads.sweep(min_age=0, force=True)
    assert list(application.storage.keys()) == application.named()
    sys.stdout.write(f"of {8 * replaces}: {files - 1} left over, {told} told, {leaked} for a sweep\n")
