"""The benchmarks run and measure something; what they measure is not judged here."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import page
import pytest

from safeupload import AVATAR

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"

MEASURES_MEMORY = Path("/proc/self/clear_refs").exists()


def run(script: str, result: Path, *arguments: str) -> list[dict[str, Any]]:
    """Run a benchmark and return the rows that it wrote."""
    command = [sys.executable, "-W", "error", str(BENCHMARKS / script), "--json", str(result), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
    rows = json.loads(result.read_text())
    assert isinstance(rows, list)
    return rows


def test_compare_measures_both_ways(tmp_path: Path) -> None:
    """A picture goes through both ways, and the rasters that Pillow allocates are seen."""
    (row,) = run("compare.py", tmp_path / "rows", "--scale", "0.1", "--repeat", "1", "--only", "JPEG 50 MP, prog")
    costs = row["costs"]

    assert row["name"] == "JPEG 50 MP, progressive"
    assert row["ratios"]["plain"][0] == pytest.approx(costs["plain"]["cpu"] / costs["safeupload"]["cpu"])
    if MEASURES_MEMORY:
        raster = 816 * 612 * 4

        assert costs["plain"]["peak"] > 1.8 * raster  # it copies what it has decoded
        assert costs["safeupload"]["peak"] < costs["plain"]["peak"]


@pytest.mark.parametrize("backend", ["asyncio", pytest.param("trio", marks=pytest.mark.long)])
def test_concurrency_measures_the_loop(tmp_path: Path, backend: str) -> None:
    """The ticker ticks through every part of the run, and a busy thread makes it late."""
    arguments = ["--scale", "0.1", "--uploads", "4", "--backend", backend, "--busy", "--plain"]

    rows = run("concurrency.py", tmp_path / "rows", *arguments)

    names = ["nothing", "uploads", "uploads, the plain way", "busy thread", "uploads, busy thread"]
    assert [row["name"] for row in rows] == names
    assert all(0 <= row["p50"] <= row["p99"] <= row["worst"] and row["ticks"] > 0 for row in rows)
    assert rows[3]["p50"] > rows[0]["p50"]


def test_hostile_files_are_refused(tmp_path: Path) -> None:
    """Each attack is small enough to be let in by its size, and meets the refusal that is meant for it."""
    rows = run("hostile.py", tmp_path / "rows", "--repeat", "1")

    assert {row["expected"] for row in rows} >= {"too_complex", "too_many_pixels", "format_not_allowed"}
    assert [row["answer"] for row in rows] == [row["expected"] for row in rows]
    assert all(row["size"] < AVATAR.max_bytes for row in rows)


def test_replacement_measures_every_level(tmp_path: Path) -> None:
    """Each level of durability is measured beside the plain way, then a recovery, and a sweep that does its work."""
    arguments = ["--scale", "0.1", "--repeat", "20", "--marks", "30", "--files", "300", "--folder", str(tmp_path)]

    rows = run("replacing.py", tmp_path / "rows", *arguments)

    names = [row["name"] for row in rows]
    assert [name for name in names if name.startswith("replace")] == [
        'replace "none"',
        'replace "safe"',
        'replace "strict"',
    ]
    assert names[-2:] == ["recover 30 marks", "sweep 300 files"]
    assert all(row["seconds"] > 0 for row in rows)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")
def test_a_process_of_its_own_is_measured(tmp_path: Path) -> None:
    """Beside the same picture in this one."""
    rows = run("isolation.py", tmp_path / "rows", "--scale", "0.1", "--repeat", "2")

    assert len(rows) == 3
    assert all(row["times"] == pytest.approx(row["there"] / row["here"]) for row in rows)


@pytest.mark.long
def test_a_sweep_takes_the_requests_that_it_has_to(tmp_path: Path) -> None:
    """Each page is listed once, each 900 files are a question; marks are listed where a file has no row."""
    rows = {row["name"]: row for row in run("sweeping.py", tmp_path / "rows", "--quick", "--check")}
    few, many, renditions, each, marks = (row for row in rows.values() if "sweep" in row["name"])

    assert [row["number"] for row in (few, many, renditions, each, marks)] == [1_000, *[10_000] * 4]
    assert [row["requests"]["LIST files"] for row in (few, many, renditions, each, marks)] == [2, 11, 31, 11, 13]
    assert [row["requests"]["LIST marks"] for row in (few, many, renditions, each, marks)] == [2, 2, 2, 2, 6]
    assert [row["questions"] for row in (few, many, renditions, each, marks)] == [3, 13, 13, 13, 13]
    assert rows["create"]["requests"] == {"PUT": 4, "DELETE": 1}
    assert rows["replace"]["requests"] == {"PUT": 5, "LIST suffixes": 1, "DELETE": 5}
    assert rows["delete"]["requests"] == {"PUT": 1, "LIST suffixes": 1, "DELETE": 4}
    assert all(row["seconds"] > 0 for row in rows.values())


@pytest.mark.long
@pytest.mark.skipif(not MEASURES_MEMORY, reason="reads what Linux knows of a process")
def test_bodies_that_are_too_large_meet_the_limits(tmp_path: Path) -> None:
    """On each kind of server, with a Content-Length and without one, the goals are kept."""
    setups = ["fastapi", "fastapi-granian", "django", "flask"]

    rows = run("edge.py", tmp_path / "rows", "--limited", "--check", "--size", "100", *setups)

    assert len(rows) == 8
    assert all(row["status"] == 413 for row in rows if (row["setup"], row["chunked"]) != ("django", True))
    assert all(row["sent"] < 16e6 for row in rows)


def test_the_page_about_performance_is_the_record() -> None:
    """No figure on it was typed, and no plot is missing."""
    record = json.loads(page.RECORD.read_text())

    assert page.PAGE.read_text() == page.text(record)
    assert not record["quick"]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_everything_is_measured(tmp_path: Path) -> None:
    """The command runs all parts, keeps them in one record of which a page can be made, and is a gate."""
    command = [sys.executable, str(BENCHMARKS), "--quick", "--json", str(tmp_path / "record"), "--fail-under", "1000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    record = json.loads((tmp_path / "record").read_text())

    assert done.returncode == 1
    assert "JPEG 12 MP: " in done.stdout
    assert all(record["parts"].values())
    assert {"processor", "system", "python", "pillow"} <= record["machine"].keys()
    assert page.text(record).count("| JPEG 50 MP |") == 2


@pytest.mark.parametrize(("argument", "answer"), [("imaginary", "is none of"), ("plain", "is none of")])
def test_an_unknown_peer_is_refused(argument: str, answer: str) -> None:
    """The command line says which there are."""
    command = [sys.executable, str(BENCHMARKS / "compare.py"), "--against", argument]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert answer in done.stderr


def test_a_missed_goal_can_fail_the_run(tmp_path: Path) -> None:
    """With --check a goal that is missed is an exit code, so that a CI can watch it."""
    command = [sys.executable, str(BENCHMARKS / "compare.py"), "--check", "--scale", "0.02", "--repeat", "1"]
    done = subprocess.run([*command, "--only", "JPEG 12 MP"], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "missed: JPEG 12 MP" in done.stdout
