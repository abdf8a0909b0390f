"""
Look at every file of a storage, and remove those that no row names.

MODULE:UPLOADS is the application's own object, Uploads or AsyncUploads; the current folder is searched for the module.
"""

from __future__ import annotations

import argparse
from typing import Final

from safeupload._cli import upkeep
from safeupload._cli.screen import PLAIN, say
from safeupload._sweep import SweepReport
from safeupload._uploads import DAY, LIMIT

NAME: Final = "sweep"
HELP: Final = "remove files that no row names"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command line may say."""
    upkeep.add_arguments(parser)
    upkeep.add_min_age(parser, f"{DAY.days}d")
    parser.add_argument("--limit", type=int, default=LIMIT, metavar="N", help=f"remove at most N (default: {LIMIT})")
    parser.add_argument("--dry-run", action="store_true", help="remove nothing, and list what would go")
    parser.add_argument(
        "--force", action="store_true", help="even if no row names any file, or more than half would go"
    )


def run(arguments: argparse.Namespace) -> int:
    """Sweep and return the exit code."""
    if arguments.limit < 0:
        arguments.usage_error("--limit: expected a number, 0 or more")
    return upkeep.run(
        arguments,
        lambda uploads, progress: uploads._sweeping(  # noqa: SLF001 - for its progress
            arguments.min_age,
            arguments.limit,
            dry_run=arguments.dry_run,
            force=arguments.force,
            progress=progress,
        ),
        _show,
        upkeep.removed,
    )


def _show(report: SweepReport) -> None:
    if report.dry_run:
        for key in report.removed:
            say((key, PLAIN))
    counts = (
        f"{report.examined} files",
        f"{report.referenced} named by rows",
        f"{report.marked} on record",
        f"{report.young} too young",
        f"{len(report.removed)} {'would go' if report.dry_run else 'removed'}",
        f"{report.remaining} left for the next time",
    )
    say((", ".join(counts), PLAIN))
