"""What docs/how-to/migrating.md shows for Django takes over a folder, in a process of its own: see test_django."""

from __future__ import annotations

import os
import sys
from pathlib import Path

FOLDER = Path(os.environ["SAFEUPLOAD_TEST_FOLDER"])
ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(FOLDER))
os.chdir(FOLDER)

from pages import blocks  # noqa: E402

SHOWN = [
    block.source
    for block in blocks(ROOT / "docs/how-to/migrating.md")
    if block.run_by == "tests/integration/django_adopting.py"
]
# The page has the field; the row's other end, and the project around it, are the application's.
FILES = {
    "mysite/__init__.py": "",
    "mysite/settings.py": f"""
from pathlib import Path
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {str(FOLDER / "app.db")!r}}}}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
INSTALLED_APPS = ["users"]
MEDIA_ROOT = Path({str(FOLDER / "media")!r})
MEDIA_URL = "/media/"
USE_TZ = True
""",
    "users/__init__.py": "",
    "users/models.py": SHOWN[1],
    "take_over.py": SHOWN[0],
}
for name, text in FILES.items():
    (FOLDER / name).parent.mkdir(exist_ok=True)
    (FOLDER / name).write_text(text)

import pytest  # noqa: E402
from builders.pictures import jpeg  # noqa: E402

import safeupload  # noqa: E402
from safeupload._cli.main import main  # noqa: E402


def test_the_page_has_both_files() -> None:
    """The one for the command, and the model."""
    assert len(SHOWN) == 2
    assert SHOWN[0].startswith("# take_over.py")
    assert SHOWN[1].startswith("# users/models.py")


def test_rows_get_keys_and_addresses(capsys: pytest.CaptureFixture[str]) -> None:
    """A picture is taken over and has an address in the new folder; one that two rows share is left alone."""
    import take_over  # type: ignore[import-not-found]  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415
    from users.models import Profile  # type: ignore[import-not-found]  # noqa: PLC0415

    call_command("migrate", run_syncdb=True, verbosity=0)
    old = FOLDER / "media/profile_pics"
    old.mkdir(parents=True)
    for name in ("one.jpg", "shared.jpg"):
        (old / name).write_bytes(jpeg(640, 480))
        Profile.objects.create(image=f"profile_pics/{name}")
    Profile.objects.create(image="profile_pics/shared.jpg")

    command = ["adopt", "take_over:uploads", str(old), "--change", "take_over:change", "--prefix", "profile_pics/"]
    assert main([*command, "--go"]) == 1
    assert "LookupError: 2 rows name it" in capsys.readouterr().err
    one, *shared = Profile.objects.order_by("pk")
    assert one.image.url == f"/media/pictures/{one.image.name}"
    assert take_over.uploads.storage.read(one.image.name) == safeupload.normalize(jpeg(640, 480)).data
    assert [each.image.name for each in shared] == ["profile_pics/shared.jpg"] * 2
