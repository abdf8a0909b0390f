"""Processes on one bucket, killed at any moment, lose nothing and leave nothing that `recover` does not settle."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest
import s3
from crash import bucket_worker
from fakes import THUMB

from safeupload import Uploads
from safeupload._keys import beside
from safeupload.storage import ObjectStorage

PROCESSES = 3
KILLS = 75
#: Between two kills, in seconds. A process is at work after a tenth of a second.
PAUSE = (0.05, 0.65)


class World:
    """A bucket, a database, and the processes that work on both."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address
        self.prefix = s3.fresh()
        self.database = str(folder / "app.db")
        self.connection = bucket_worker.connect(self.database)
        self.connection.executescript(bucket_worker.SCHEMA)
        self.storage = self.opened()
        self.errors = (folder / "errors").open("w+b")
        self.running: list[subprocess.Popen[bytes]] = []
        self.started = 0

    def opened(self) -> ObjectStorage:
        """Open the storage."""
        lease, skew = bucket_worker.LEASE, bucket_worker.SKEW
        return ObjectStorage(s3.store(self.address), prefix=self.prefix, lease=lease, skew=skew)

    def start(self) -> None:
        """Start a process."""
        words = [self.address, s3.BUCKET, self.prefix, self.database, str(self.started)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # what this process has, it has as well
        command = [sys.executable, bucket_worker.__file__, *words]
        self.running.append(subprocess.Popen(command, env=environment, stderr=self.errors))
        self.started += 1

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process, which has to be at work still."""
        self.running.remove(process)
        ended = process.poll()
        process.kill()
        process.wait()
        self.errors.seek(0)
        assert ended is None, self.errors.read().decode()

    def check(self) -> None:
        """Check P5. Nobody changes a row meanwhile, so no file that is named may go."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            for key, sha256 in self.connection.execute("SELECT image_file, sha256 FROM users"):
                for name in (key, beside(key, THUMB)):
                    assert bucket_worker.sha256(self.storage.read(name)) == sha256
        finally:
            self.connection.execute("ROLLBACK")

    def counted(self) -> dict[str, int]:
        """Return how often what was done."""
        return dict(self.connection.execute("SELECT what, number FROM counts"))

    def unexpected(self) -> set[str]:
        """Return what is in the bucket and should not be, or the other way round."""
        found = {entry.name for entry in self.storage._bucket.entries("")}
        keys = [key for (key,) in self.connection.execute("SELECT image_file FROM users")]
        return found ^ {*keys, *(beside(key, THUMB) for key in keys), f".renditions/{THUMB}", ".clock"}


@pytest.fixture
def world(tmp_path: Path) -> Generator[World]:
    """Give a bucket and a database, and see to it that no process is left."""
    with s3.server() as address:
        world = World(address, tmp_path)
        with closing(world.connection), world.errors:
            try:
                yield world
            finally:
                for process in world.running:
                    process.kill()
                    process.wait()


@pytest.mark.long
def test_p5_p7_survive_kills_of_several_processes(world: World) -> None:
    """
    At every kill what rows name is there and whole; and nothing else is, once the leases have ended, after `recover`.

    A sweep is needed only for a file that lands when its mark has been settled. The file is sent after its mark is
    there, and a mark lasts for seconds, so that takes a request that is under way for as long.
    """
    die = random.Random(1)
    for _ in range(PROCESSES):
        world.start()
    for kill in range(KILLS):
        time.sleep(die.uniform(*PAUSE))
        victims = list(world.running) if kill % 10 == 9 else [die.choice(world.running)]
        for process in victims:
            world.kill(process)
        world.check()
        for _ in victims:
            world.start()
    time.sleep(PAUSE[1])
    for process in list(world.running):
        world.kill(process)
    world.check()
    before = world.counted()

    time.sleep(bucket_worker.LEASE + bucket_worker.SKEW + 1)
    uploads = Uploads(world.opened(), references=bucket_worker.used(world.connection))
    report = uploads.recover(min_age=0)
    world.check()
    swept = len(world.unexpected())
    if swept:
        uploads.sweep(min_age=0, force=True)
    sys.stdout.write(f"{world.started} kills, {before}, then {report}, {swept} left for a sweep\n")

    assert world.unexpected() == set()
    assert swept == 0
    assert (report.waiting, report.failed) == (0, ())
    assert len(report.removed) + report.kept >= 3
    assert len(report.removed) + report.kept + before.get("settled", 0) >= KILLS // 4
    assert world.started >= KILLS
    assert before["replaced"] >= KILLS
    assert min(before["created"], before["deleted"]) >= 5
