"""What the tests of the tutorial share: a step that is being served, pictures, and the page."""
# ruff: noqa: S101
# It belongs to tests, and is made of assert as they are.

import io
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

import httpx2
from fastapi.testclient import TestClient
from PIL import Image

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs/tutorial.md"
STEPS = range(6)
LAST = 5


class Running:
    """A step that is being served, to the user 1."""

    def __init__(self, module: ModuleType, client: TestClient, folder: Path) -> None:
        self.module = module
        self.client = client
        self.folder = folder
        created = client.post("/users")
        assert (created.status_code, created.json()) == (201, {"id": 1, "picture": None})

    def put(self, data: bytes) -> httpx2.Response:
        """Upload a picture."""
        return self.client.put("/users/1/picture", files={"file": data})

    def named(self) -> str | None:
        """Return the address that the row leads to."""
        address: str | None = self.client.get("/users/1").json()["picture"]
        return address

    def files(self) -> list[str]:
        """Return the addresses of all files there are."""
        return sorted(f"/pictures/{path.name}" for path in self.folder.glob("*/*.jpg"))

    def shown(self) -> bytes:
        """Return the picture that the row leads to."""
        address = self.named()
        assert address is not None
        answer = self.client.get(address)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/jpeg")
        return answer.content


Run = Callable[[int], AbstractContextManager[Running]]


def around(step: int) -> list[int]:
    """Return the step before the one that mends something, that step, and the last one."""
    return sorted({step - 1, step, LAST})


def settings(folder: Path) -> dict[str, str]:
    """Return the environment of a step."""
    return {"DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'app.db'}", "MEDIA": str(folder)}


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """Return the picture as a file."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def picture(colour: str = "teal") -> bytes:
    """Return an ordinary upload."""
    return encoded(Image.new("RGB", (640, 480), colour), "JPEG")


def middle(data: bytes) -> tuple[int, ...]:
    """Return the colour in the middle of a stored picture, to the nearest 16 levels."""
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (300, 300)
        pixel = image.getpixel((150, 150))
    assert isinstance(pixel, tuple)
    return tuple(round(level / 16) * 16 for level in pixel)


def section(step: int) -> str:
    """Return what the page says of a step."""
    return PAGE.read_text().partition(f"\n## Step {step}: ")[2].partition("\n## ")[0]


def blocks(step: int, language: str) -> list[str]:
    """Return the blocks of a step in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", section(step), re.MULTILINE | re.DOTALL)
