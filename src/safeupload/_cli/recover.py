"""
Settle what crashes and failed commits have left on record.

MODULE:UPLOADS is the application's own object, Uploads or AsyncUploads; the current folder is searched for the module.
"""

from __future__ import annotations

import argparse
from typing import Final

from safeupload._cli import upkeep
from safeupload._cli.screen import PLAIN, say
from safeupload._recovery import RecoveryReport

NAME: Final = "recover"
HELP: Final = "settle what crashes have left"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command line may say."""
    upkeep.add_arguments(parser)
    upkeep.add_min_age(parser, None)


def run(arguments: argparse.Namespace) -> int:
    """Recover and return the exit code."""
    return upkeep.run(
        arguments,
        lambda uploads, _: uploads._recovering(arguments.min_age),  # noqa: SLF001
        _show,
        upkeep.removed,
    )


def _show(report: RecoveryReport) -> None:
    say((f"{len(report.removed)} removed, {report.kept} kept, {report.waiting} waiting", PLAIN))
