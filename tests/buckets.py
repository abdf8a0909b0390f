"""A bucket in a dictionary, and the time that everything goes by."""

from collections.abc import Callable, Iterator

import pytest

from safeupload.storage import Entry
from safeupload.storage import _clocks as clocks

LEASE, SKEW = 300, 60


class Bucket:
    """Named objects, and a clock that stands still until it is told."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.now = 1e9
        self.ahead = 0.0  # of the machine that asks
        self.requests: list[str] = []
        self.act: Callable[[str], None] = lambda request: None

    def rule(self, patch: pytest.MonkeyPatch) -> None:
        """Let all leases go by this clock."""
        bucket = self

        class Clock:
            """The time of the machine."""

            @staticmethod
            def time() -> float:
                """Return it."""
                return bucket.now

        patch.setattr(clocks, "time", Clock)
        patch.setattr(clocks, "elapsed", lambda: bucket.now)

    def put(self, name: str, data: bytes) -> None:
        """Write an object."""
        self._request(f"put {name}")
        self.objects[name] = (data, self.now + self.ahead)

    def get(self, name: str) -> bytes | None:
        """Return an object."""
        self._request(f"get {name}")
        return self.objects[name][0] if name in self.objects else None

    def delete(self, name: str) -> None:
        """Remove an object."""
        self._request(f"delete {name}")
        self.objects.pop(name, None)

    def date(self, name: str) -> float | None:
        """Return when an object was last written."""
        self._request(f"date {name}")
        return self.objects[name][1] if name in self.objects else None

    def entries(self, folder: str) -> Iterator[Entry]:
        """Return what begins so, in order."""
        self._request(f"list {folder}")
        for name, (_, date) in sorted(self.objects.items()):
            if name.startswith(folder):
                yield Entry(name, date)

    def _request(self, request: str) -> None:
        self.requests.append(request)
        self.act(request)
