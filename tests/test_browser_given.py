"""The Dataset page in chromium on scores that are no probabilities, and on a target that gives its text alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browsing import dataset_page, launched
from fake_bundle import write_fake_bundle
from playwright.sync_api import Page, expect

from explorer.catalog import Catalog
from explorer.served import Served
from precompute.bundle import read_bundle
from precompute.indicators import EXPLANATIONS, INDICATORS, LABEL_ONLY

GIVEN, LABELS = "synthetic-target", "synthetic-target-weak"
CLIP = "synthetic-clean/002"
SCORES = ["mia_score", "mia_score_transfer"]


def written(path: Path) -> Path:
    """A bundle whose first target has scores from -7 to 13, and whose second one gives labels alone."""
    write_fake_bundle(path, per_class=12)
    scores = pd.read_parquet(path / "scores.parquet")
    given = (scores["target"] == GIVEN).to_numpy()
    scores.loc[given, SCORES] = 20 * scores.loc[given, SCORES] - 7
    at = np.flatnonzero(given & (scores["clip_id"] == CLIP))
    scores.iloc[at, scores.columns.get_indexer(SCORES)] = 13.0
    scores.loc[~given, list(INDICATORS)] = np.nan
    scores = scores.assign(**{name: np.where(given, np.nan, 0.25) for name in LABEL_ONLY})
    scores.to_parquet(path / "scores.parquet")
    audit = json.loads((path / "audit.json").read_text())
    for target, access in zip(audit["targets"], ("weights", "labels"), strict=True):
        target["access"] = access
    (path / "audit.json").write_text(json.dumps(audit))
    return path


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    served = Served.open(Catalog(read_bundle(written(tmp_path_factory.mktemp("given") / "bundle"))))
    yield served
    served.close()


@pytest.fixture(scope="module")
def address(served) -> Iterator[str]:
    with launched(served) as url:
        yield url


@pytest.fixture
def page(address, request) -> Iterator[Page]:
    with dataset_page(address, f"dataset=synthetic-clean&clip={CLIP}&target={request.param}") as page:
        yield page


def test_the_indicators_of_a_target_are_those_it_has(served):
    assert served.indicators(0, 1, 2, 0, 0) == dict.fromkeys(LABEL_ONLY, 0.25)
    assert list(served.indicators(0, 0, 2, 0, 0)) == list(INDICATORS)


@pytest.mark.parametrize("page", [LABELS], indirect=True)
def test_a_target_of_text_alone_is_shown_with_its_own_indicators_and_what_they_mean(page):
    page.get_by_text("Its indicators").click()
    rows = page.locator('[data-part="indicators"] tr')
    expect(rows).to_have_count(len(LABEL_ONLY))
    assert rows.all_inner_texts() == [f"{name}\t0.2500" for name in LABEL_ONLY]
    titles = [row.get_attribute("title") for row in rows.locator("th").all()]
    assert titles == [EXPLANATIONS[name] for name in LABEL_ONLY]


@pytest.mark.parametrize("page", [GIVEN], indirect=True)
def test_axes_follow_scores_that_are_no_probabilities_and_so_does_the_threshold(page):
    scores = [value for value in page.evaluate("() => window.explorer.values") if value is not None]
    low, high = min(scores), max(scores)
    assert low < 0 and high == pytest.approx(13, abs=1e-3)
    shown = page.evaluate("() => window.explorer.scatter.chart._fullLayout.yaxis.range")
    assert shown[0] < low and high < shown[1] < high + 0.1 * (high - low)
    ring = page.locator(".ring")
    expect(ring).to_be_visible()  # of the clip with the highest score of all
    ticks = page.locator('[data-part="histogram"] .tick[text-anchor="middle"]').all_text_contents()
    assert [float(tick) for tick in ticks] == [-5, 0, 5, 10]
    plot = page.evaluate("() => window.explorer.histogram.plot.inner")
    three_quarters = {"x": (plot["x0"] + 3 * plot["x1"]) / 4, "y": 60}
    page.locator('[data-part="histogram"]').click(position=three_quarters)
    wanted = (low + 3 * high) / 4
    assert page.evaluate("() => window.explorer.state.threshold") == pytest.approx(wanted, rel=0.02)
    slider = page.locator('[data-part="range"]')
    assert float(slider.input_value()) == pytest.approx(wanted, rel=0.02)
    assert [float(slider.get_attribute(end)) for end in ("min", "max")] == pytest.approx([low, high])
    expect(page.locator(".level")).to_be_visible()
    page.locator('[data-part="sort"]').select_option("score")
    last = page.evaluate("() => { const e = window.explorer; return e.values[e.rows.at(-1)]; }")
    assert last is None  # a clip without a score comes after those below zero


@pytest.mark.parametrize("page", [GIVEN], indirect=True)
def test_probabilities_keep_the_axis_from_nought_to_one(page):
    page.locator('[data-part="target"]').select_option("1")
    page.wait_for_function("() => Math.max(...window.explorer.values.filter((v) => v !== null)) <= 1")
    page.wait_for_function("() => window.explorer.scatter.chart._fullLayout.yaxis.range[1] < 2")
    assert page.evaluate("() => window.explorer.scatter.chart._fullLayout.yaxis.range") == pytest.approx([-0.03, 1.03])
    ticks = page.locator('[data-part="histogram"] .tick[text-anchor="middle"]').all_text_contents()
    assert ticks == ["0", "0.25", "0.5", "0.75", "1"]
