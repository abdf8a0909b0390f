"""
A virus scanner before anything is stored: ClamAV, by the INSTREAM command of its daemon.

    uploads = safeupload.Uploads(storage, references=used, checks=[ClamAV()])

What the scanner does not call clean in so many words is not stored: neither what it finds something in (a 422), nor
what it could not scan, because it is down, slow, or cut off (a 503).
"""

import socket
import time
from dataclasses import dataclass
from typing import ClassVar, Final

import safeupload

_PIECE: Final = 1 << 18
_LONGEST: Final = 1024  # bytes of an answer: "stream: " and the name of what was found


class Infected(safeupload.CheckFailed):
    """The scanner has found something. What it is stands in `found`, for the log."""

    code: ClassVar[str] = "infected"

    def __init__(self, found: str) -> None:
        """Note the name of the signature."""
        super().__init__("The file looks like malware.")
        self.found = found

    def __reduce__(self) -> tuple[type["Infected"], tuple[str]]:
        """Be pickled with what was found."""
        return type(self), (self.found,)


@dataclass(frozen=True)
class ClamAV:
    """
    A check by clamd, at the path of a socket or at a host and a port; `timeout` is for the scan, in seconds.

    Of a file that is larger than clamd's StreamMaxLength (25 MiB unless configured) it says so; let that be more than
    the policy's `max_bytes`, and set AlertExceedsMax, without which it calls clean what it has not scanned to the end.
    """

    address: str | tuple[str, int] = "/run/clamav/clamd.ctl"
    timeout: float = 30.0

    def __call__(self, upload: bytes, _: safeupload.NormalizedImage) -> None:
        """Return if the scanner says that the upload is clean."""
        answer = self._scan(upload)
        if answer == b"stream: OK":
            return
        if answer.startswith(b"stream: ") and answer.endswith(b" FOUND"):
            raise Infected(answer[8:-6].decode(errors="replace"))
        raise ConnectionError(f"clamd answered {answer!r}")

    def _scan(self, upload: bytes) -> bytes:
        """Return what the scanner says, in full."""
        deadline = time.monotonic() + self.timeout
        with self._connected() as connection:
            connection.sendall(b"zINSTREAM\0")
            for start in range(0, len(upload), _PIECE):
                piece = upload[start : start + _PIECE]
                connection.settimeout(_left(deadline))
                connection.sendall(len(piece).to_bytes(4, "big") + piece)
            connection.settimeout(_left(deadline))
            connection.sendall(bytes(4))
            answer = b""
            while not answer.endswith(b"\0"):
                connection.settimeout(_left(deadline))
                piece = connection.recv(_LONGEST)
                if not piece or len(answer) > _LONGEST:
                    raise ConnectionError(f"clamd did not finish its answer: {answer!r}")
                answer += piece
        return answer[:-1]

    def _connected(self) -> socket.socket:
        if not isinstance(self.address, str):
            return socket.create_connection(self.address, self.timeout)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(self.timeout)
            connection.connect(self.address)
        except BaseException:
            connection.close()
            raise
        return connection


def _left(deadline: float) -> float:
    """Return the seconds until then; raise `TimeoutError` if there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("clamd takes too long")
    return left
