"""What docs/explanation/orm-events.md says of Django is so, in a process of its own: see test_orm_events_page."""

import os
import sys
from pathlib import Path

import django
from django.conf import settings
from django.db import connections, models

os.chdir(sys.argv[1])
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "app.db"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()


class User(models.Model):  # type: ignore[misc]  # noqa: DJ008 - never shown
    """Somebody with a picture."""

    image_file = models.CharField(max_length=64)

    class Meta:  # noqa: D106
        app_label = "accounts"


with connections["default"].schema_editor() as editor:
    editor.create_model(User)
User.objects.create(image_file="old.jpg")
Path("old.jpg").touch()
connections.close_all()  # or a process that is forked would share the connection

scope = {"User": User}
for source in sys.stdin.read().split("\0"):
    exec(compile(source, "orm-events.md", "exec"), scope)  # noqa: S102 - to run it is the point
    sys.stdout.write("ok\n")
