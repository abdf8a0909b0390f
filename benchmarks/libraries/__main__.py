"""
Compare with published libraries: ``python3.11 benchmarks/libraries``, in a private environment that this makes.

The pins of requirements.txt are for Python 3.11; Linux is needed, and libmagic on the system for one of them.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent.parent
HOME: Final = ROOT / ".venv" / "libraries"
REQUIREMENTS: Final = HERE / "requirements.txt"
_PYTHON: Final = (3, 11)


def prepare() -> Path:
    """Return the Python of an environment that has what is pinned, made anew if that has changed."""
    python = HOME / "bin" / "python"
    stamp = HOME / "stamp"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        venv.create(HOME, clear=True, with_pip=True)
        install = ["-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:"]
        subprocess.run([python, *install, "-r", REQUIREMENTS], check=True)
        # Behind the installed packages, since one of these has the name of a module of our benchmarks.
        folders = [str(ROOT / name) for name in ("src", "tests", "benchmarks")]
        packages = HOME / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        (packages / "repository.pth").write_text("\n".join(folders) + "\n")
        stamp.write_text(wanted)
    return python


if __name__ == "__main__":
    if sys.version_info[:2] != _PYTHON or sys.platform != "linux":
        sys.exit("libraries: needs Python 3.11 on Linux")
    sys.exit(subprocess.run([prepare(), "-m", "libraries.measure", *sys.argv[1:]], check=False).returncode)
