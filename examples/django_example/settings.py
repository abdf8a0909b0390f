"""
The settings; four of them matter to pictures, and say why.

From the environment: DATABASE_URL (default: SQLite, beside this file; postgresql://user:password@host:port/name), MEDIA
(the folder of the pictures), SECRET_KEY, ALLOWED_HOSTS (with commas), DEBUG=1.
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import global_settings
from django.core.management.utils import get_random_secret_key

VAR = Path(__file__).resolve().parent / "var"


def database(url: str) -> dict[str, Any]:
    """Return Django's way to write a URL of a database."""
    parts = urlsplit(url)
    if parts.scheme.startswith("sqlite"):
        path = Path(unquote(parts.path)[1:])
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {
            # SQLite has no SELECT ... FOR UPDATE; a transaction that begins by taking the lock does the same.
            "transaction_mode": "IMMEDIATE",
            "timeout": 30,
            # A file is removed because a commit has happened, so no power loss may undo the commit.
            "init_command": "PRAGMA synchronous = EXTRA",
        }
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": path, "OPTIONS": options}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "NAME": parts.path.lstrip("/"),
    }


DATABASES = {"default": database(os.environ.get("DATABASE_URL") or f"sqlite:///{VAR / 'app.db'}")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Not MEDIA_ROOT: this folder belongs to safeupload alone, and is not for Django's own storages.
PICTURES = Path(os.environ.get("MEDIA") or VAR / "pictures")

# First, so that a body that is too large is not received. It is a setting and not a matter of the views, since the
# middleware against CSRF reads forms before any view does. Bodies without files have Django's own limit.
FILE_UPLOAD_HANDLERS = ["safeupload.django.BodyLimitUploadHandler", *global_settings.FILE_UPLOAD_HANDLERS]
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024

# Without the variable every process has a key of its own, so a restart ends the sessions; several workers need it.
SECRET_KEY = os.environ.get("SECRET_KEY") or get_random_secret_key()
DEBUG = os.environ.get("DEBUG") == "1"
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_example.people",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_example.people.problems.ProblemMiddleware",  # the last, so that it sees what the views raise and answer
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "django_example.urls"
TIME_ZONE = "UTC"
WSGI_APPLICATION = "django_example.wsgi.application"
STATIC_URL = "static/"
