"""``python -m safeupload``: see ``python -m safeupload --help``."""

import sys

from safeupload._cli.main import main

if __name__ == "__main__":
    sys.exit(main())
