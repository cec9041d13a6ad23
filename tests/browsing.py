"""A page of the explorer in chromium, as the smaller browser tests want it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, sync_playwright

from explorer.served import Served
from explorer.site import build_site, launch_options

PATIENCE = 30_000  # milliseconds; only ever spent in full by a failure


@contextmanager
def launched(served: Served) -> Iterator[str]:
    """Serve what is open, without a target to score clips with; the address, with no slash behind it."""
    site = build_site(served, lambda samples, text, dataset, target: {})
    _, url, _ = site.launch(
        server_name="127.0.0.1", server_port=None, prevent_thread_lock=True, quiet=True, **launch_options(served)
    )
    yield url.rstrip("/")
    site.close()


@contextmanager
def dataset_page(address: str, query: str) -> Iterator[Page]:
    """Open the Dataset page, wait until it is drawn, and in the end refuse errors of its scripts."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(PATIENCE)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{address}/dataset?{query}")
        page.wait_for_selector('.linked[data-ready="true"]')
        yield page
        browser.close()
    assert faults == []
