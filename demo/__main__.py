"""
Try safeupload in a browser: python3 run.py demo.

usage: python3 run.py demo [--port N] [--folder FOLDER] [--no-open] [--check]

Starts the example for FastAPI, with SQLite and a local folder, and opens a page where you are its only user.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from demo import check

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PORT = 8000


def main(argv: Sequence[str]) -> int:
    """Serve the page until Ctrl-C, or walk through it once and say how that went."""
    options = _options(argv)
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="safeupload-demo-")))
        folder.mkdir(parents=True, exist_ok=True)
        # The application reads these when it is imported, and so does the process whose plug is pulled.
        os.environ["DATABASE_URL"] = f"sqlite+aiosqlite:///{folder / 'app.db'}"
        os.environ["MEDIA"] = str(folder / "pictures")
        sys.path.insert(0, str(EXAMPLES))

        listener = stack.enter_context(_listen(0 if options.check else options.port))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        server = uvicorn.Server(uvicorn.Config("demo.app:app", log_level="warning", lifespan="on"))
        if options.check:
            return _check(server, listener, address)
        print(f"{address}  (database and pictures: {folder}; Ctrl-C ends it)", flush=True)
        if options.open:
            # The socket listens already, so a browser that is early waits.
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            server.run([listener])
    return 0


def _listen(port: int) -> socket.socket:
    """Return a socket on that port, or on any if somebody else has it."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return socket.create_server(("127.0.0.1", 0))


def _check(server: uvicorn.Server, listener: socket.socket, address: str) -> int:
    """Serve in a thread, and be the visitor."""
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        return check.visit(address)
    finally:
        server.should_exit = True
        thread.join()


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run.py demo", description="Try safeupload in a browser: the example for FastAPI, with a page."
    )
    parser.add_argument(
        "--port", type=int, default=PORT, help="where to listen (default: %(default)s, or any free one)"
    )
    parser.add_argument(
        "--folder", type=Path, help="where the database and the pictures go (default: a new one, removed in the end)"
    )
    parser.add_argument(
        "--open", action=argparse.BooleanOptionalAction, default=True, help="open the page in a browser (default: yes)"
    )
    parser.add_argument("--check", action="store_true", help="walk through everything without a browser, and exit")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
