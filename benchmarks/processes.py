"""Servers that are measured: whether they answer, what they have started, and what they take."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from pathlib import Path


def wait_for_answer(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the server answers."""
    for _ in range(400):
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            if client.recv(10):
                return
        time.sleep(0.05)
    raise SystemExit("the server does not answer")


def family(pid: int) -> list[int]:
    """Return the process and those that it, in whichever of its threads, has started."""
    found = [pid]
    with contextlib.suppress(OSError):  # it has ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += family(int(child))
    return found


def resident(pid: int, name: str = "VmRSS") -> int:
    """Return a process's memory in bytes, now or (VmHWM) at most."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"no {name}; this needs Linux")
