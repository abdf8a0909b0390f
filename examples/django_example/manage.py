"""
Django's command line for this project, from the folder above: python -m django_example.manage runserver.

DEBUG=1 shows errors in the browser and the admin with its styles; `createsuperuser` makes somebody who may use it.
"""

import os
import sys

from django.core.management import execute_from_command_line


def main() -> None:
    """Run a command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_example.settings")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
