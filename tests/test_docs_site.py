"""The built documentation: nothing is loaded from outside, and every page fits a phone."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsers import chromium
from pages import DOCS, ROOT
from playwright.sync_api import Browser

from docs._ext import outside

BUILT = ROOT / "build/docs"
PHONE = {"width": 390, "height": 844}
#: What on a page scrolls sideways, but for code and tables, and so is wider than the page. The theme has the article in
#: an element that scrolls, so the width of the document alone would never tell.
WIDER = """[document.documentElement, ...document.querySelectorAll("body *")]
    .filter(element => element.scrollWidth > element.clientWidth + 1)
    .filter(element => element === document.documentElement || /auto|scroll/.test(getComputedStyle(element).overflowX))
    .filter(element => !element.matches("pre, .table-wrapper"))
    .map(element => `${element.tagName} ${element.className}: ${element.scrollWidth}`)"""


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.example/x.js"></script>',
        "<link rel=stylesheet href=//fonts.example/x.css>",
        '<img src="HTTP://example/x.png">',
        '<img srcset="x.png 1x, https://example/y.png 2x">',
        '<p style="background: url(https://example/x.png)">',
        '<style>@import "https://example/x.css";</style>',
        "<style>@font-face { src: url( 'https://example/x.woff2' ) }</style>",
        '<svg><image xlink:href="https://example/x.png"/></svg>',
        '<svg><use href="https://example/x.svg#y"/></svg>',
        '<iframe src="https://example/"></iframe>',
        '<base href="https://example/">',
    ],
)
def test_what_comes_from_outside_is_found(text: str, tmp_path: Path) -> None:
    """Whatever makes a browser ask another host is told, with its file, wherever in the documentation it is."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/page.html").write_text(f"<!doctype html><p>Text</p>{text}<p>More</p>")

    assert [path.name for path, _ in outside.of_folder(tmp_path)] == ["page.html"]


def test_what_is_ones_own_and_what_is_clicked_on_is_fine(tmp_path: Path) -> None:
    """Links lead anywhere; files beside the page, and pictures within it, are no other host's."""
    text = '<a href="https://example/">x</a><img src="../x.png"><img src="data:image/png,x"><code>url(//x)</code>'
    (tmp_path / "page.html").write_text(text)
    (tmp_path / "style.css").write_text("@import url(x.css); a { background: url('../x.svg') }")
    assert list(outside.of_folder(tmp_path)) == []

    (tmp_path / "style.css").write_text("a { background: url('//example/x.svg') }")
    assert [address for _, address in outside.of_folder(tmp_path)] == ["//example/x.svg"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Give the browser, if the documentation has been built."""
    if not (BUILT / "index.html").exists():
        if "docs" in os.environ.get("SAFEUPLOAD_REQUIRE", "").split():
            pytest.fail("the documentation was not built")
        pytest.skip("needs the documentation: python3 run.py docs --check")
    with chromium() as browser:
        yield browser


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_phone(browser: Browser, scheme: str) -> None:
    """No page is wider than a phone, and none asks anybody for anything; tables scroll inside themselves."""
    folder = os.environ.get("SAFEUPLOAD_SCREENSHOTS")
    context = browser.new_context(viewport=PHONE, color_scheme=scheme, device_scale_factor=2)  # type: ignore[arg-type]
    page = context.new_page()
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    wide = {}
    names = [path.relative_to(BUILT) for path in sorted(BUILT.rglob("*.html")) if "_static" not in path.parts]
    for name in names:
        page.goto((BUILT / name).as_uri())
        if found := page.evaluate(WIDER):
            wide[str(name)] = found
        if folder:
            picture = f"docs-{scheme}-{'-'.join(name.with_suffix('').parts)}.png"
            page.screenshot(path=Path(folder, picture), full_page=False)
    context.close()

    assert len(names) >= len(list(DOCS.rglob("*.md")))
    assert wide == {}
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert wrong == []
