"""
Fuzz a part of the library with atheris: coverage-guided, from generated files.

usage: python tests/fuzz TARGET [--seconds N] [--folder FOLDER] [OPTIONS AND FILES OF LIBFUZZER]

Without a file, fuzz for N seconds (60); FOLDER keeps what was learnt and found. With files, check these:

  python tests/fuzz png --seconds 600 --folder /tmp/fuzz
  python tests/fuzz png /tmp/fuzz/png/crash-...
  python tests/fuzz png -minimize_crash=1 -exact_artifact_path=/tmp/small /tmp/fuzz/png/crash-...
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # tests, whose builders and promises are used

import atheris
from fuzz import mutators, seeds


def main() -> None:
    """Fuzz until the time is up or something is found; the exit code tells which."""
    parser = argparse.ArgumentParser(prog="python tests/fuzz", usage=(__doc__ or "").partition("usage: ")[2])
    parser.add_argument("target", choices=seeds.NAMES)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "safeupload-fuzz")
    known, more = parser.parse_known_args()
    arguments = prepared(known.folder / known.target, known.target)
    if all(word.startswith("-") for word in more):
        more = [f"-max_total_time={known.seconds}", *more, str(known.folder / known.target / "corpus")]
    with atheris.instrument_imports(include=["safeupload"]):
        from fuzz import targets  # noqa: PLC0415 - it imports what is instrumented
    targets.watch()
    atheris.Setup(
        [sys.argv[0], *arguments, *more],
        targets.check(known.target),
        custom_mutator=lambda data, limit, seed: mutators.mutated(data, limit, seed, atheris.Mutate),
    )
    atheris.Fuzz()


def prepared(folder: Path, target: str) -> list[str]:
    """Write the seeds and the dictionary into a folder; return the options of libFuzzer that go with them."""
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds.seeds(target)):
        (corpus / f"seed-{number}").write_bytes(data)
    (folder / "words").write_text(seeds.dictionary(target), encoding="ascii")
    # The check has a bound of its own, of two seconds; the ones here are for what never returns.
    return [
        f"-dict={folder / 'words'}",
        f"-artifact_prefix={folder}/",
        "-max_len=65536",
        "-timeout=30",
        "-rss_limit_mb=2048",
    ]


if __name__ == "__main__":
    main()
