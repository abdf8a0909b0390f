"""The Chromium of the system, for the tests that look at pages."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

# Headless, without the requests that a browser makes by itself.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Give the browser; skip where there is none, fail where there has to be one."""
    path = shutil.which("chromium")
    if path is None:
        if "chromium" in os.environ.get("SAFEUPLOAD_REQUIRE", "").split():
            pytest.fail("there is no chromium")
        pytest.skip("needs Debian's package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()
