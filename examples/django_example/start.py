"""What is done when a server starts."""

import fcntl
from pathlib import Path

from django.core.management import call_command
from django.db import connections

from django_example.people.pictures import uploads


def prepare() -> None:
    """
    Make the tables, and settle what a crash has left.

    A real deployment runs `migrate` as a step of its own; here it is one thing less to remember.
    """
    with Path(__file__).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the workers of a server start all at once
        call_command("migrate", verbosity=0)
    uploads.recover()
    connections.close_all()  # a server that forks its workers after this must not share a connection among them
