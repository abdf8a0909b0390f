"""The demo, without a browser and with one."""

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browsers import chromium
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

ROOT = Path(__file__).resolve().parent.parent
DEMO = [sys.executable, "-m", "demo"]
#: One walk with the browser belongs to the ordinary run; the others would make it too long.
in_the_long_run = pytest.mark.long

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a local storage needs flock")


def test_a_visit_without_a_browser() -> None:
    """Everything that the page offers works, from the first upload to the deletion of the account."""
    done = subprocess.run([*DEMO, "--check"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert len(re.findall("^ok ", done.stdout, re.MULTILINE)) >= 25
    assert "FAILED" not in done.stdout


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Run the demo on any free port; give the address."""
    command = [*DEMO, "--no-open", "--port", "0", "--folder", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[0]
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Give the system's Chromium."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a demo."""
    with served(tmp_path_factory.mktemp("demo")) as address:
        yield address


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """Give the page to a new visitor, and see in the end that it made no mistake."""
    context = browser.new_context(viewport={"width": 1000, "height": 900})
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type in {"error", "warning"} else None)
    page.on(
        "request",
        lambda request: None if request.url.startswith((address, "blob:", "data:")) else wrong.append(request.url),
    )
    page.goto(address)
    expect(page.locator("#samples li")).to_have_count(11)
    yield page
    settled(page)
    if page.locator("#delete-account").is_enabled():
        page.locator("#delete-account").click()
        expect(page.locator("#files")).to_contain_text("gone")
    context.close()
    # That an upload was refused is what these tests ask for, and what a browser notes.
    refusals = re.compile(r"Failed to load resource: the server responded with a status of 4(13|15|22) ")
    assert [text for text in wrong if not refusals.match(text)] == []


def picture(colour: str = "teal", size: tuple[int, int] = (640, 480)) -> bytes:
    """Return a photograph of sorts."""
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    image.paste(Image.new("RGB", (size[0] // 2, size[1] // 2), colour), (size[0] // 4, size[1] // 4))
    out = io.BytesIO()
    image.save(out, "JPEG")
    return out.getvalue()


def settled(page: Page) -> None:
    """Wait until the page is ready for the next thing."""
    expect(page.locator("#file")).to_be_enabled(timeout=15_000)


def choose(page: Page, content: bytes, name: str = "holiday.jpg") -> Locator:
    """Choose a file; return where the answer comes."""
    settled(page)
    page.locator("#file").set_input_files({"name": name, "mimeType": "image/jpeg", "buffer": content})
    return page.locator("#answer")


def keys(page: Page) -> list[str]:
    """Return the files that are in the folder."""
    settled(page)
    return page.locator("#files li:not(.gone) code").all_inner_texts()


def drop(page: Page, content: bytes) -> None:
    """Drop a file on the field."""
    settled(page)
    transfer = page.evaluate_handle(
        """bytes => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "dropped.jpg"));
            return transfer;
        }""",
        list(content),
    )
    page.dispatch_event("#drop", "dragover", {"dataTransfer": transfer})
    assert page.locator("#drop").evaluate("node => node.classList.contains('over')")
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    assert not page.locator("#drop").evaluate("node => node.classList.contains('over')")


def screenshot(page: Page, name: str) -> None:
    """Keep a picture of the whole page where SAFEUPLOAD_SCREENSHOTS says, for somebody to look at."""
    if folder := os.environ.get("SAFEUPLOAD_SCREENSHOTS"):
        page.screenshot(path=Path(folder, f"{name}.png"), full_page=True)


def test_a_picture_is_chosen_replaced_twice_and_deleted(page: Page) -> None:
    """Each time the old file goes, and in the end the folder is empty."""
    screenshot(page, "empty")
    expect(choose(page, picture())).to_contain_text("Stored as")
    expect(page.locator("#checks li")).to_have_count(7)
    expect(page.locator("#after-about")).to_contain_text("300 \N{MULTIPLICATION SIGN} 300")
    first = keys(page)
    assert len(first) == 1
    expect(page.locator("#before")).to_be_visible()
    expect(page.locator("#after")).to_be_visible()
    assert page.locator("#after").evaluate("image => image.decode().then(() => image.naturalWidth)") == 300

    drop(page, picture("tomato"))
    expect(page.locator("#answer")).to_contain_text("The old file")
    second = keys(page)
    assert len(second) == 1
    assert second != first
    expect(page.locator("#files .gone code")).to_have_text(first)
    expect(choose(page, picture("gold"))).to_contain_text(second[0] + ", is gone")
    screenshot(page, "replaced")

    settled(page)
    page.reload()  # the visitor is still the same
    expect(page.locator("#after")).to_be_visible()
    page.locator("#delete-picture").click()
    expect(page.locator("#answer")).to_contain_text("The picture is deleted")
    expect(page.locator("#delete-picture")).to_be_disabled()
    assert keys(page) == []
    page.locator("#delete-account").click()
    expect(page.locator("#answer")).to_contain_text("The account is deleted")
    expect(page.locator("#delete-account")).to_be_disabled()


@in_the_long_run
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no picture at all", "Refused (415, not_an_image)"),
        (bytes(6 << 20), "Refused (413, too_large)"),
        (picture()[:-300], "Refused (422, corrupt)"),
        (b"", "Refused (422, empty)"),
    ],
    ids=["text", "large", "torn", "empty"],
)
def test_a_refusal_is_told_in_plain_words(page: Page, content: bytes, words: str) -> None:
    """And changes nothing: neither for a stranger, nor for somebody with a picture."""
    expect(choose(page, content)).to_contain_text(words)
    expect(page.locator("#answer")).to_contain_text("No account was created.")
    expect(choose(page, picture())).to_contain_text("Stored as")
    before = keys(page)
    expect(choose(page, content)).to_contain_text("Nothing has changed.")
    expect(page.locator("#answer")).to_contain_text(words)
    assert keys(page) == before
    screenshot(page, f"refused-{words[-6:-1].strip('_')}")


@in_the_long_run
def test_progress_is_shown(page: Page) -> None:
    """While a slow line sends, the bar moves, and nothing else can be begun."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    line = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 1_000_000}
    session.send("Network.emulateNetworkConditions", line)
    choose(page, os.urandom(2_000_000))
    expect(page.locator("#progress")).to_be_visible()
    expect(page.locator("#file")).to_be_disabled()
    expect(page.locator("#percent")).to_have_text(re.compile(r"^[1-9]\d? %$"))
    expect(page.locator("#answer")).to_contain_text("Refused (415", timeout=10_000)
    expect(page.locator("#progress")).to_be_hidden()
    expect(page.locator("#file")).to_be_enabled()


@in_the_long_run
@pytest.mark.parametrize("name", ["header-only.webp", "comment.jpg"])
def test_a_hostile_file_is_tried_with_one_click(page: Page, name: str) -> None:
    """What safeupload says stands beside what the plain way does."""
    card = page.locator("#samples li", has_text=name)
    card.get_by_role("button").click()
    expect(card.locator(".safe")).to_contain_text("safeupload: ")
    expect(card.locator(".plain b")).to_have_text("The plain way: ", timeout=30_000)
    if name == "comment.jpg":
        expect(card.locator(".safe")).to_contain_text("a clean picture")
        expect(card.locator(".plain")).to_contain_text("the script")
    else:
        expect(card.locator(".safe")).to_contain_text("Refused (413, too_many_pixels)")
        expect(card.locator(".plain")).to_contain_text("576 MB")
    screenshot(page, f"hostile-{name}")


@in_the_long_run
@pytest.mark.parametrize(("step", "row"), [("stored", "still the old one"), ("committed", "the new one")])
def test_the_plug_is_pulled(page: Page, step: str, row: str) -> None:
    """Two files are there, and after the recovery the one that the row names, with which the visitor goes on."""
    choose(page, picture())
    expect(page.locator("#checks li")).to_have_count(7)
    page.locator(f"input[value={step}]").check()
    page.locator("#pull").click()
    expect(page.locator("#plugged")).to_contain_text(f"2 files are on the disk; your row names {row}", timeout=15_000)
    assert len(keys(page)) == 2
    screenshot(page, f"plug-{step}")
    page.locator("#recover").click()
    expect(page.locator("#plugged")).to_contain_text("1 file was removed")
    assert len(keys(page)) == 1
    assert page.locator("#after").evaluate("image => image.decode().then(() => image.naturalWidth)") == 300
    expect(choose(page, picture("gold"))).to_contain_text("is gone")


@in_the_long_run
def test_the_keyboard_is_enough(page: Page) -> None:
    """Tab goes from the skip link through everything that can be done, and the choice of a step is one stop."""
    choose(page, picture())
    expect(page.locator("#checks li")).to_have_count(7)
    settled(page)
    page.evaluate("document.activeElement.blur()")
    stops = []
    for _ in range(17):
        page.keyboard.press("Tab")
        stops.append(
            page.evaluate(
                "(document.activeElement.id || document.activeElement.ariaLabel || document.activeElement.textContent)"
            )
        )
    assert stops[:4] == ["Skip to the demo", "file", "delete-picture", "delete-account"]
    assert stops[4:15] == [f"Try {name}" for name in re.findall(r"[\w-]+\.\w{3,4}", " ".join(stops[4:15]))]
    assert stops[16] == "pull"
    page.locator("#pull").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#plugged")).to_contain_text("is dead", timeout=15_000)
    settled(page)
    page.locator("#recover").focus()
    page.keyboard.press("Space")
    expect(page.locator("#plugged")).to_contain_text("was removed")


@in_the_long_run
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1000])
def test_it_fits_a_phone_and_both_themes(page: Page, width: int, scheme: str) -> None:
    """Nothing is wider than the screen, and all text has a contrast of 4.5 to 1 at least."""
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 740})
    choose(page, b"no picture")
    expect(page.locator("#answer")).to_contain_text("Refused")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CONTRAST) == []
    screenshot(page, f"{scheme}-{width}")


#: WCAG 2.2, 1.4.3: the texts whose colour has too little contrast to the nearest ground.
CONTRAST = """
() => {
  const rgb = (text) => text.match(/[0-9.]+/g).map(Number);
  const linear = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = rgb(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll("body *")].filter((node) => !node.disabled &&
    [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim()));
  if (texts.length < 40) return ["too few texts: " + texts.length];
  return texts.filter((node) => {
    const both = [light(rgb(getComputedStyle(node).color)), light(ground(node))].sort((a, b) => b - a);
    return (both[0] + 0.05) / (both[1] + 0.05) < 4.5;
  }).map((node) => node.textContent);
}
"""
