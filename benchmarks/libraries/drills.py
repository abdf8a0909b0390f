"""
One library and all moments that matter: ``python -m libraries.drills NAME FOLDER [DRILL...]``.

Each drill begins in an empty folder with two people who have a picture, and ends with a look at the table, by a
connection of its own, and at the files. What is done, and what is looked at afterwards, each has a process of its own.
Then somebody else's picture is replaced, what the library has for cleaning up is run as if a long time had passed, and
there is a second look.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import shutil
import sqlite3
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from PIL import Image

from libraries import faults
from libraries.faults import FaultyConnection
from libraries.stores import DATABASE, MEDIA, Store, Undo

_ONE, _OTHER = 1, 2
_PATIENCE: Final = 2.0  # seconds until who waits for the other goes on alone


def picture(colour: str) -> bytes:
    """Return a small picture."""
    out = io.BytesIO()
    Image.new("RGB", (320, 320), colour).save(out, "JPEG")
    return out.getvalue()


class Drill(NamedTuple):
    """What is done with the first row; `plan` is what becomes of the commit."""

    name: str
    about: str
    act: Callable[[Store], None]
    plan: str = ""
    locked: bool = True


def _replace(store: Store) -> None:
    with store.unit() as unit:
        unit.load(_ONE)
        unit.put(_ONE, picture("green"), "new.jpg")


def _delete(store: Store) -> None:
    with store.unit() as unit:
        unit.delete(_ONE)


def _replace_and_undo(store: Store) -> None:
    with suppress(Undo), store.unit() as unit:
        unit.put(_ONE, picture("green"), "new.jpg")
        raise Undo


def _delete_and_undo(store: Store) -> None:
    with suppress(Undo), store.unit() as unit:
        unit.delete(_ONE)
        raise Undo


def _savepoint_undone(store: Store) -> None:
    with store.unit() as unit:
        with suppress(Undo), unit.savepoint():
            unit.put(_ONE, picture("green"), "new.jpg")
            raise Undo
        unit.rename(_OTHER)


def _savepoint_released(store: Store) -> None:
    with suppress(Undo), store.unit() as unit:
        with unit.savepoint():
            unit.put(_ONE, picture("green"), "new.jpg")
        raise Undo


def _two_at_once(store: Store) -> None:
    """Both read; the second writes when the first is through, or as soon as it is let in."""
    read, done = threading.Barrier(2), threading.Event()
    errors: list[BaseException] = []

    def use(number: int) -> None:
        try:
            with store.unit() as unit:
                unit.load(_ONE)
                with suppress(threading.BrokenBarrierError):
                    read.wait(_PATIENCE)
                if number:
                    done.wait(_PATIENCE)
                unit.put(_ONE, picture(("green", "blue")[number]), "new.jpg")
        except Exception as error:  # noqa: BLE001 - noted
            errors.append(error)
        finally:
            if not number:
                done.set()

    threads = [threading.Thread(target=use, args=[number]) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


DRILLS: Final = (
    Drill("replaced", "the picture is replaced, and nothing goes wrong", _replace),
    Drill("deleted", "the row is deleted, and nothing goes wrong", _delete),
    Drill("replaced, rolled back", "the application rolls back after the assignment", _replace_and_undo),
    Drill("deleted, rolled back", "the application rolls back after the deletion", _delete_and_undo),
    Drill(
        "savepoint rolled back", "replaced in a savepoint that is rolled back, then the rest commits", _savepoint_undone
    ),
    Drill(
        "savepoint released, rolled back",
        "replaced in a savepoint that is released, then all is rolled back",
        _savepoint_released,
    ),
    Drill("commit refused", "the database refuses the commit (IntegrityError)", _replace, faults.REFUSED),
    Drill("commit not sent", "the connection is lost before the commit (OperationalError)", _replace, faults.NOT_SENT),
    Drill(
        "answer lost",
        "the commit happens, and the connection is lost before its answer (OperationalError)",
        _replace,
        faults.LOST,
    ),
    Drill("killed before the commit", "SIGKILL right before the commit", _replace, faults.KILLED_BEFORE),
    Drill("killed after the commit", "SIGKILL right after the commit", _replace, faults.KILLED_AFTER),
    Drill(
        "two at once",
        "two replacements that have both read the old row, as the driver does it",
        _two_at_once,
        locked=False,
    ),
    Drill("two at once, locked", "the same, where each transaction begins with a lock", _two_at_once),
)


def main(name: str, folder: Path, only: Sequence[str] = ()) -> None:
    """Run all drills, or those that are named, each in a folder of its own."""
    warnings.simplefilter("ignore")
    store = cast("Store", importlib.import_module(f"libraries.stores.{name}").STORE)
    for drill in (each for each in DRILLS if not only or each.name in only):
        place = folder / "drill"
        shutil.rmtree(place, ignore_errors=True)
        (place / MEDIA).mkdir(parents=True)
        _apart(partial(_begin, store, place))
        old = _tokens(store, place)
        if len(old) != 2:  # noqa: PLR2004
            raise RuntimeError(f"{name}: the table has {old}")
        raised = _apart(partial(_act, store, place, drill))
        first = _look(store, place, old)
        tidied = _apart(partial(_later, store, place))
        second = _look(store, place, old)
        report = {"drill": drill.name, "raised": raised, "repair": tidied == "repaired", "at once": first}
        sys.stdout.write(json.dumps({"library": name, **report, "later": second}) + "\n")
        sys.stdout.flush()


def _apart(work: Callable[[], str]) -> str:
    """Do the work in a process of its own; return what it says, or what it died of."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        said = "unknown"
        try:
            said = work()
        except Exception as error:  # noqa: BLE001 - it is told
            said = f"failed: {error!r}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:  # noqa: PTH123 - a descriptor
        said = pipe.read().decode()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return "killed"
    if said.startswith("failed: "):
        raise RuntimeError(said)
    return said


def _begin(store: Store, place: Path) -> str:
    store.setup(place, locked=True)
    with store.unit() as unit:
        unit.add(_ONE, picture("red"), "old.jpg")
        unit.add(_OTHER, picture("white"), "other.jpg")
    return ""


def _act(store: Store, place: Path, drill: Drill) -> str:
    store.setup(place, locked=drill.locked)
    FaultyConnection.plan = drill.plan
    try:
        drill.act(store)
    except Exception as error:  # noqa: BLE001 - noted
        return type(error).__name__
    if drill.plan and FaultyConnection.plan:
        raise RuntimeError("nothing was committed")
    return ""


def _later(store: Store, place: Path) -> str:
    """Replace the other picture and run what there is for cleaning up."""
    store.setup(place, locked=True)
    with store.unit() as unit:
        unit.put(_OTHER, picture("black"), "later.jpg")
    return "repaired" if store.repair() else ""


def _tokens(store: Store, place: Path) -> dict[int, str]:
    """Return by row what its files are called, for rows that name one."""
    with closing(sqlite3.connect(place / DATABASE)) as connection:
        rows = connection.execute("SELECT id, picture FROM people_person").fetchall()
    return {row: store.token(value) for row, value in rows if value}


def _look(store: Store, place: Path, old: dict[int, str]) -> dict[str, Any]:
    """Tell what the row has, whether its file is there and whole, and which files no row names."""
    now = _tokens(store, place)
    files = _files(place / MEDIA)
    unowned = sorted(token for token in files if token not in now.values() and token != old[_OTHER])
    token = now.get(_ONE)
    row = "gone" if token is None else "old" if token == old[_ONE] else "new"
    return {
        "row": row,
        "whole": None if token is None else any(_is_whole(path) for path in files.get(token, [])),
        "old left": old[_ONE] in unowned,
        "new left": len([each for each in unowned if each != old[_ONE]]),
        "other whole": any(_is_whole(path) for path in files.get(now[_OTHER], [])),
    }


def _files(media: Path) -> dict[str, list[Path]]:
    """Return the files by the first part of their names, or of a folder's that holds them."""
    found: dict[str, list[Path]] = {}
    for path in media.rglob("*"):
        if path.is_file() and (token := _owner(path.relative_to(media))):
            found.setdefault(token, []).append(path)
    return found


def _owner(path: Path) -> str:
    """Return it; marks of safeupload are named like the file that they are about."""
    parts = path.parts[1:] if path.parts[0] in {"pictures", ".pending"} else path.parts
    return parts[0].partition(".")[0].partition("~")[0]


def _is_whole(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.load()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve(), sys.argv[3:])
