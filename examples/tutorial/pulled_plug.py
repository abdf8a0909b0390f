"""
Change a picture in a process that ends "before" or "after" its commit, for no reason at all.

    python pulled_plug.py STEP MOMENT UPLOAD
"""

import importlib
import os
import sys
from pathlib import Path

from fastapi.testclient import TestClient


def main(step: str, moment: str, upload: str) -> None:
    """Serve the step to itself."""
    module = importlib.import_module(step)
    with TestClient(module.app) as client:
        dialect = module.engine.sync_engine.dialect
        commit = dialect.do_commit

        def pull(connection: object) -> None:
            if moment == "after":
                commit(connection)
            os._exit(9)

        dialect.do_commit = pull
        client.put("/users/1/picture", files={"file": Path(upload).read_bytes()})


if __name__ == "__main__":
    main(*sys.argv[1:])
