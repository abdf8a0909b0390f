"""
For servers that speak WSGI: gunicorn django_example.wsgi, from the folder above.

Django is set up here, so this is also what commands of safeupload import:

    python -m safeupload recover django_example.wsgi:uploads
"""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_example.settings")
application = get_wsgi_application()

from django_example.people.pictures import uploads  # noqa: E402 - after the settings
from django_example.start import prepare  # noqa: E402

__all__ = ["application", "uploads"]

prepare()
