"""
The corpus of real and hostile pictures, where there is one.

The environment variable SAFEUPLOAD_CORPUS names its folder: the files, `manifest.jsonl` with the expected verdicts, and
`run_corpus.py`, which judges a callable in limited child processes.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CORPUS = os.environ.get("SAFEUPLOAD_CORPUS")
NEEDED = ("run_corpus.py", "reference.py", "manifest.jsonl")

# What the runner says when it has nothing to compare with: its reference fails, or is in another part of the corpus.
NO_VERDICT = {"accepted-what-the-reference-cannot-read", "checker-failed"}

ADAPTER = """
import dataclasses
import safeupload

EVERYTHING = dataclasses.replace(safeupload.AVATAR, formats={"JPEG", "PNG", "WEBP", "GIF", "AVIF", "HEIF"})

def default(data):
    return safeupload.normalize(data).data

def everything(data):
    return safeupload.normalize(data, EVERYTHING).data
"""

#: What both policies take, as the manifest calls it: of these files, one of them has nothing more to say.
TAKEN_BY_BOTH = {"jpeg", "png", "webp", "gif"}


@pytest.mark.long
@pytest.mark.skipif(CORPUS is None, reason="SAFEUPLOAD_CORPUS names no corpus")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("function", ["default", "everything"])
def test_no_file_of_the_corpus_gets_through(function: str, tmp_path: Path) -> None:
    """
    Every file becomes a clean, right picture or one clean refusal, within time and memory.

    The runner writes beside itself, so it runs from a copy.
    """
    assert CORPUS is not None
    for name in NEEDED:
        shutil.copy(Path(CORPUS) / name, tmp_path)
    manifest = tmp_path / "manifest.jsonl"
    if function == "everything":
        lines = manifest.read_text().splitlines(keepends=True)
        manifest.write_text("".join(line for line in lines if json.loads(line)["format"] not in TAKEN_BY_BOTH))
    (tmp_path / "files").symlink_to(Path(CORPUS) / "files")
    (tmp_path / "adapter.py").write_text(ADAPTER)
    command = [sys.executable, "run_corpus.py", "--callable", f"adapter:{function}", "--base-error"]
    command += ["safeupload:Rejected", "--jobs", "2", "--out", "results.jsonl"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    results = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]

    assert len(results) == len(manifest.read_text().splitlines()) > (500 if function == "everything" else 1500)
    found = [(result["id"], problem) for result in results for problem in result["problems"]]
    assert [(name, problem) for name, problem in found if problem not in NO_VERDICT] == []
    assert done.returncode == 0, done.stdout[-2000:]
