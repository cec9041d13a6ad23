"""The Dataset page in chromium on a bundle of speech and of sounds: its words follow the dataset that is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from browsing import dataset_page, launched
from fake_bundle import write_fake_bundle
from playwright.sync_api import Page, expect

from explorer.catalog import Catalog
from explorer.served import Served

SOUND = "synthetic-shift"


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    bundle = write_fake_bundle(tmp_path_factory.mktemp("browser-captions") / "bundle", per_class=12)
    clips = bundle.clips.assign(task=np.where(bundle.clips["dataset"] == SOUND, "sound", "speech"))
    served = Served.open(Catalog(replace(bundle, clips=clips)))
    with launched(served) as url:
        yield url
    served.close()


@pytest.fixture
def page(address) -> Iterator[Page]:
    with dataset_page(address, f"dataset={SOUND}&clip={SOUND}/002") as page:
        yield page


def test_captions_become_transcripts_where_the_dataset_is_one_of_speech(page):
    part = {name: page.locator(f'[data-part="{name}"]') for name in ("words", "inputs", "text", "input", "family")}
    expect(part["words"]).to_contain_text("Caption")
    expect(part["inputs"]).to_contain_text("another rendering 3")
    expect(part["text"]).to_contain_text("the known caption")
    expect(part["family"]).to_contain_text("caption")
    expect(page.locator("#clips")).to_contain_text("caption")
    page.locator('[data-part="dataset"]').select_option("0")
    expect(part["text"]).to_contain_text("the known transcript")
    expect(part["input"]).to_contain_text("another voice 3")
    expect(page.get_by_placeholder("name or transcript")).to_be_visible()
    expect(page.locator("#clips")).to_contain_text("transcript")
    page.wait_for_function("() => window.explorer.base.id[0].startsWith('synthetic-clean')")
    page.evaluate("() => window.explorer.pick(1)")
    expect(part["words"]).to_contain_text("Transcript")
    expect(part["inputs"]).to_contain_text("another voice 3")
    for name in part:
        expect(part[name]).not_to_contain_text("rendering")
