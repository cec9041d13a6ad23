"""The explorer in chromium, on a synthetic bundle and with an injected scorer: what a visitor can see, hear and do.

The real target behind "Score a clip" is left to the end-to-end test of the audit.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_bundle import MISSING_CLIP, write_fake_bundle
from playwright.sync_api import Browser, Page, expect, sync_playwright

from explorer.catalog import Catalog
from explorer.packed import pack, unpack
from explorer.served import Served
from explorer.site import build_site, launch_options

PATIENCE = 30_000  # milliseconds; only ever spent in full by a failure
CLIP = "synthetic-clean/007"


def known_answer(samples, text, dataset, target) -> dict:
    """Score without a model, in the form of ``score_clip``: louder is more member-like, very long is refused."""
    score = float(min(0.99, np.abs(samples).max() + 0.01))
    refusal = "This clip is unlike the dataset." if len(samples) > 5 * 16000 else None
    return {
        **{"generated_text": "press one now", "score": score, "share_non_members": None if refusal else 0.25},
        **{"floor": 1 / 25, "n_non_members": 24, "percentile_members": 0.4, "n_members": 24, "refusal": refusal},
        **{"reason": "It is long.", "blind": {"score": 0.4, "share_non_members": 0.6, "floor": 0.1, "method": "sound"}},
        "tokens": [{"text": word, "nll": 0.2, "entropy": 0.3, "gap": 0.8} for word in ("press", "one", "now")],
    }


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    bundle = write_fake_bundle(tmp_path_factory.mktemp("browser") / "bundle", per_class=24)
    served = Served.open(Catalog(bundle))
    site = build_site(served, known_answer)
    _, url, _ = site.launch(
        server_name="127.0.0.1", server_port=None, prevent_thread_lock=True, quiet=True, **launch_options(served)
    )
    yield url.rstrip("/")
    site.close()
    served.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    flags = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page, and what must not have happened on it by the end."""

    page: Page
    address: str
    faults: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", lambda m: self.faults.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda r: None if self._ours(r.url) else self.faults.append(f"request to {r.url}"))

    def _ours(self, url: str) -> bool:
        return url.startswith((self.address, "data:", "blob:"))

    def open(self, path: str) -> Page:
        self.page.goto(self.address + path)
        if path.startswith("/dataset"):
            self.page.wait_for_selector('.linked[data-ready="true"]')
        else:
            self.page.wait_for_selector("h1")
        return self.page

    def explorer(self, expression: str):
        """Value of an expression over the page's view ``e``."""
        return self.page.evaluate(f"() => {{ const e = window.explorer; return {expression}; }}")

    def until(self, expression: str) -> None:
        """Wait until an expression over the view holds."""
        self.page.wait_for_function(f"() => {{ const e = window.explorer; return e && ({expression}); }}")


@pytest.fixture
def visit(browser, address) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, color_scheme="light")
    visit = Visit(context.new_page(), address)
    visit.watch()
    yield visit
    context.close()
    assert visit.faults == []


def click_on_point(visit: Visit, index: int) -> None:
    """Click where the chart shows a clip; Plotly needs to have noticed the mouse first."""
    x, y = visit.explorer(
        f"(() => {{ const b = e.scatter.chart.getBoundingClientRect(), l = e.scatter.chart._fullLayout, p = "
        f"e.scatter.points;"
        f"return [b.left + l.xaxis._offset + l.xaxis.d2p(p.x[{index}]), b.top + l.yaxis._offset + "
        f"l.yaxis.d2p(p.y[{index}])]; }})()"
    )
    visit.page.mouse.move(x - 2, y - 2)
    visit.page.mouse.move(x, y)
    visit.page.wait_for_function("() => document.querySelector('.hoverlayer .hovertext')")
    visit.page.mouse.click(x, y)


def lonely_point(visit: Visit) -> int:
    """Return the clip farthest from its nearest neighbour, so that a click can mean no other."""
    return visit.explorer(
        "(() => { const {x, y} = e.scatter.points; let best = [0, -1]; x.forEach((a, i) => { if (y[i] === null) return;"
        "const d = Math.min(...x.map((b, j) => i === j || y[j] === null ? 9 : Math.hypot(a - b, y[i] - y[j])));"
        "if (d > best[1]) best = [i, d]; }); return best[0]; })()"
    )


@pytest.mark.parametrize("path", ["/", "/dataset", "/evidence", "/conditions", "/score", "/method"])
def test_every_page_opens_without_errors_outside_requests_or_sideways_scrolling(visit, path):
    page = visit.open(path)
    expect(page.locator("h1").first).to_be_visible()
    for width in (1920, 1440, 768, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(f"() => innerWidth === {width} && document.documentElement.scrollWidth <= innerWidth")


def test_points_are_drawn_by_webgl(visit):
    visit.open("/dataset")
    assert visit.explorer("e.scatter.chart._fullData.map((trace) => trace.type)") == ["scattergl"] * 3


def test_a_click_on_a_point_plays_that_clip(visit):
    visit.open("/dataset")
    index = lonely_point(visit)
    click_on_point(visit, index)
    visit.until("e.panel.player.playing")
    assert visit.explorer("e.panel.index") == index
    expect(visit.page.locator('[data-part="name"]')).to_have_text(visit.explorer(f"e.base.id[{index}]"))
    expect(visit.page.locator('[data-part="tokens"] .token').first).to_be_visible()


def test_nothing_plays_by_itself(visit):
    visit.open(f"/dataset?clip={CLIP}")
    visit.until("e.panel.player.buffers.size === 8")
    assert visit.explorer("e.panel.player.playing") is False


def test_a_condition_swaps_in_place_at_the_same_position_and_keeps_playing(visit):
    page = visit.open(f"/dataset?clip={CLIP}")
    visit.until("e.panel.player.buffers.size === 8")
    page.locator('[data-part="play"]').focus()
    page.evaluate("window.explorer.panel.player.seek(0.5)")
    page.locator('[data-part="play"]').click()
    visit.until("e.panel.player.playing && e.panel.player.position > 0.55")
    before, after = page.evaluate(
        "() => { const p = window.explorer.panel.player, a = p.position;"
        "document.querySelector('[data-input=\"5\"]').click(); return [a, p.position]; }"
    )
    visit.until("e.panel.player.current === 5 && e.state.input === 5")
    assert visit.explorer("e.panel.player.playing") is True
    assert after - before == pytest.approx(0, abs=0.2)
    page.keyboard.press("1")
    visit.until("e.panel.player.current === 0")


def test_every_condition_can_be_heard_and_silence_is_silent(visit):
    visit.open(f"/dataset?clip={CLIP}")
    visit.until("e.panel.player.buffers.size === 8")
    peaks = visit.explorer(
        "[...Array(8).keys()].map((k) => e.panel.player.buffers.get(k).getChannelData(0).reduce((a, v) => "
        "Math.max(a, Math.abs(v)), 0))"
    )
    assert peaks[1] == peaks[2] == 0
    assert min(peaks[0], *peaks[3:]) > 0.01


def test_a_clip_without_audio_says_so_and_the_rest_still_works(visit):
    page = visit.open(f"/dataset?clip={MISSING_CLIP}")
    expect(page.locator('[data-part="note"]')).to_contain_text("no audio of this clip")
    expect(page.locator('[data-part="words"]')).to_contain_text("Transcript")


def test_dragging_along_the_roc_moves_threshold_rule_and_text_alternative(visit):
    page = visit.open("/dataset")
    before = page.locator('[data-part="rule"]').inner_text()
    roc = page.locator('[data-part="roc"]')
    roc.scroll_into_view_if_needed()
    box = roc.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 100, steps=12)
    page.mouse.up()
    rule = page.locator('[data-part="rule"]').inner_text()
    assert rule != before
    caught, members, flagged, others = (int(n) for n in re.findall(r"(\d+) of (\d+)", rule) for n in n)
    assert f"{round(100 * caught / members)}% of members" in roc.get_attribute("aria-label")
    scores = visit.explorer("e.values.map((v, i) => [v, e.base.label[i]])")
    threshold = visit.explorer("e.state.threshold")
    assert sum(1 for v, label in scores if v is not None and v >= threshold and not label) == flagged
    assert sum(1 for _, label in scores if not label) == others
    visit.until("location.search.includes('threshold=')")


def test_the_roc_in_the_page_has_the_area_of_the_results(visit):
    visit.open("/dataset")
    area, stated = visit.explorer("[e.curve.auc, e.columns.auc.auc]")
    assert area == pytest.approx(stated, abs=1e-6)


def test_the_adjusted_curve_in_the_page_has_the_area_of_the_results(visit):
    page = visit.open("/dataset?dataset=synthetic-shift")
    kinds = visit.explorer("e.others.map((other) => other.kind)")
    area, stated = visit.explorer("[e.others[0].curve.auc, e.catalog.verdicts['1.0'].adjusted.auc]")
    assert kinds == ["adjusted", "blind"] and area == pytest.approx(stated, abs=2e-3)
    roc = page.locator('[data-part="roc"]')
    expect(roc.locator("polyline.curve")).to_have_count(3)
    expect(roc.locator(".name text").first).to_have_text(re.compile(r"^raw 0\.\d\d \["))
    page.locator('[data-part="input"]').select_option("3")
    expect(roc.locator("polyline.curve")).to_have_count(2)


def test_the_band_of_the_roc_is_wilsons_and_holds_the_curve(visit):
    from scipy.stats import binomtest

    visit.open("/dataset")
    assert visit.explorer("e.roc.host.querySelectorAll('.band').length") == 1
    limits, band = visit.page.evaluate(
        "async () => { const m = await import(window.explorer.files + '/common.js');"
        "return [m.wilson(5, 40), m.rocBand({tp: [0, 20, 40], fp: [0, 4, 40], members: 40, nonmembers: 40})]; }"
    )
    assert limits == pytest.approx(list(binomtest(5, 40).proportion_ci(0.975, method="wilson")), abs=1e-4)
    low_false, high_true = band[2]
    assert low_false < 0.1 and high_true > 0.5


def test_the_threshold_moves_within_a_frame(visit):
    visit.open("/dataset")
    spent = visit.explorer(
        "(() => { const start = performance.now(); for (let i = 0; i < 60; i += 1) e.moveThreshold(i / 60);"
        "return (performance.now() - start) / 60; })()"
    )
    assert spent < 16


def test_why_unfolds_into_the_questions_and_leads_to_the_evidence(visit):
    page = visit.open("/dataset")
    page.get_by_text("Why this verdict").click()
    expect(page.locator('[data-part="why"] ol.steps li').first).to_contain_text("Could the clips be scored at all?")
    page.locator('[data-part="evidence"]').click()
    expect(page.locator("section[data-grid]:visible").first).to_contain_text("In numbers")


def test_a_term_explains_itself_on_tap(visit):
    page = visit.open("/")
    term = page.locator("thead abbr").last
    term.focus()
    shown = term.evaluate("(node) => [getComputedStyle(node, '::after').content, node.title]")
    assert shown[1][:20] in shown[0]


def test_matched_pairs_are_heard_side_by_side_and_stepped_by_key(visit):
    page = visit.open("/dataset?dataset=synthetic-shift&pair=3")
    pairs = page.locator('[data-part="pairs"]')
    pairs.scroll_into_view_if_needed()
    expect(pairs.locator('[data-part="pair-count"]')).to_contain_text("Pair 3 of 24")
    member, other = visit.explorer("e.base.pairs[2].slice(0, 2).map((i) => e.base.id[i])")
    expect(pairs.locator('[data-side="member"] .name')).to_have_text(member)
    expect(pairs.locator('[data-side="nonmember"] .name')).to_have_text(other)
    for side in (0, 1):
        pairs.get_by_role("button", name="Play").first.click()
        visit.until(f"e.pairs.sides[{side}].player.playing")
    assert visit.explorer("e.pairs.sides[0].player.playing") is False
    pairs.focus()
    page.keyboard.press("n")
    visit.until("e.pairs.at === 3 && location.search.includes('pair=4')")
    page.keyboard.press("ArrowLeft")
    visit.until("e.pairs.at === 2 && e.panel.index === null")
    pairs.locator('[data-side="member"] .name').click()
    expect(page.locator('[data-part="name"]')).to_have_text(member)


def test_a_pair_without_audio_says_so(visit):
    page = visit.open("/dataset?pair=4")
    page.locator('[data-part="pairs"]').scroll_into_view_if_needed()
    expect(page.locator('[data-side="member"] .note')).to_contain_text("no audio of this clip")


def test_the_filter_shows_counts_steps_and_highlights_the_same_clips(visit):
    page = visit.open("/dataset")
    page.locator('[data-part="label"]').select_option("non-member")
    page.locator('[data-part="search"]').press_sequentially("agent")
    visit.until("e.rows.length < 24")
    labels, texts = visit.explorer("[e.rows.map((i) => e.base.label[i]), e.rows.map((i) => e.base.text[i])]")
    assert set(labels) == {0} and all("agent" in text for text in texts)
    page.locator("h1").first.click()
    page.keyboard.press("ArrowRight")
    visit.until("e.panel.index === e.rows[0]")
    page.keyboard.press("ArrowRight")
    visit.until("e.panel.index === e.rows[1]")
    shown = visit.explorer(
        "e.scatter.chart.data[0].customdata.filter((_, n) => e.scatter.chart.data[0].marker.opacity[n] > 0.5)"
    )
    assert sorted(shown) == sorted(i for i in visit.explorer("e.rows") if visit.explorer("e.values")[i] is not None)


def test_the_page_reads_packed_columns_as_they_were_packed(visit):
    rng = np.random.default_rng(0)
    columns = [1 / (1 + np.exp(-3 * rng.standard_normal(200))), 5 * rng.standard_normal(50), np.r_[np.nan, 0.0, 1.0]]
    columns.append(np.r_[0.5 + 1e-7 * rng.random(400), 0.0, 1.0])
    packed = [pack(values) for values in columns]
    assert [column["kind"] for column in packed] == ["logit", "even", "logit", "float"]
    visit.open("/dataset")
    read = visit.page.evaluate(
        "async (packed) => { const m = await import(window.explorer.files + '/packed.js');"
        "return packed.map(m.unpack); }",
        packed,
    )
    for column, values in zip(packed, read, strict=True):
        found = np.array([np.nan if value is None else value for value in values])
        np.testing.assert_allclose(found, unpack(column), rtol=1e-12)


def test_known_texts_are_fetched_by_a_search_and_not_before(visit):
    asked = []
    visit.page.on("request", lambda request: asked.append(request.url.rsplit("/", 1)[-1]))
    page = visit.open("/dataset")
    visit.until("e.cache.size === 9")  # the clips, and the scores of every condition
    assert "clips-0.json" in asked and "texts-0.json" not in asked
    page.locator('[data-part="search"]').press_sequentially("agent")
    visit.until("e.base.text && e.rows.length < e.base.id.length")
    assert asked.count("texts-0.json") == 1


def test_a_search_in_the_address_finds_words_of_the_known_texts(visit):
    visit.open("/dataset?q=agent")
    rows, texts = visit.explorer("[e.rows, e.base.text]")
    assert rows and sorted(rows) == [i for i, text in enumerate(texts) if "agent" in text]


def test_the_table_holds_some_rows_and_turns_to_further_ones(visit):
    page = visit.open("/dataset")
    page.evaluate("() => { window.explorer.catalog.tableRows = 20; window.explorer.sendTable(); }")
    expect(page.locator('[data-part="rows"]')).to_have_text("Rows 1 to 20")
    expect(page.locator('[data-part="rows-back"]')).to_be_disabled()
    for shown in ("Rows 21 to 40", "Rows 41 to 48"):
        page.locator('[data-part="rows-on"]').click()
        expect(page.locator('[data-part="rows"]')).to_have_text(shown)
    expect(page.locator('[data-part="rows-on"]')).to_be_disabled()
    expect(page.locator("#clips").get_by_test_id("cell-0-0")).to_have_text(visit.explorer("e.base.id[e.rows[40]]"))
    page.locator('[data-part="label"]').select_option("member")
    expect(page.locator('[data-part="rows"]')).to_have_text("Rows 1 to 20")


def test_indicators_are_asked_for_when_their_table_is_opened_and_follow_the_condition(visit):
    page = visit.open(f"/dataset?clip={CLIP}")
    visit.until("e.panel.details")
    assert page.locator('[data-part="indicators"] tr').count() == 0
    page.get_by_text("Its indicators").click()
    rows = page.locator('[data-part="indicators"] tr')
    expect(rows).to_have_count(30)
    before = rows.first.inner_text()
    page.keyboard.press("6")
    expect(rows.first).not_to_have_text(before)


def test_a_deep_link_restores_everything_and_back_undoes_a_choice(visit):
    query = (
        "dataset=synthetic-shift&target=synthetic-target-weak&condition=noise&text=reference&fit=transfer&blind=text"
    )
    page = visit.open(f"/dataset?{query}&clip=synthetic-shift%2F011&threshold=0.4&label=member")
    state = visit.explorer("e.state")
    assert (state["dataset"], state["target"], state["input"], state["text"]) == (1, 1, 3, "reference")
    assert (state["fit"], state["family"], state["threshold"], state["label"]) == ("transfer", "text", 0.4, "member")
    expect(page.locator('[data-part="name"]')).to_have_text("synthetic-shift/011")
    page.locator('[data-part="text"]').select_option("generated")
    visit.until("!location.search.includes('text=reference')")
    page.go_back()
    visit.until("e.state.text === 'reference' && location.search.includes('text=reference')")


def test_an_unknown_clip_in_the_address_is_said_in_words(visit):
    page = visit.open("/dataset?clip=nobody")
    expect(page.locator('[data-part="empty"]')).to_contain_text("No clip is called nobody")


def test_the_table_is_a_way_to_every_clip_by_keyboard(visit):
    page = visit.open("/dataset")
    grid = page.locator("#clips")
    first, second = visit.explorer("[e.base.id[e.rows[0]], e.base.id[e.rows[1]]]")
    expect(grid.get_by_test_id("cell-0-0")).to_have_text(first)
    grid.get_by_test_id("cell-0-0").click()
    expect(page.locator('[data-part="name"]')).to_have_text(first)
    expect(grid.get_by_test_id("cell-0-0")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(grid.get_by_test_id("cell-1-0")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator('[data-part="name"]')).to_have_text(second)


def test_keys_open_the_list_the_search_and_close_the_clip(visit):
    page = visit.open(f"/dataset?clip={CLIP}")
    visit.until("e.panel.details")
    page.locator("h1").first.click()
    page.keyboard.press("?")
    expect(page.locator("dialog.keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog.keys")).to_be_hidden()
    page.keyboard.press("/")
    expect(page.locator('[data-part="search"]')).to_be_focused()
    page.locator("h1").first.click()
    page.keyboard.press("Escape")
    expect(page.locator('[data-part="empty"]')).to_be_visible()


def test_the_theme_follows_the_system_and_a_choice_is_remembered(browser, address):
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(address)
    expect(page.locator("body")).to_have_class(re.compile("dark"), timeout=PATIENCE)
    page.get_by_role("button", name="Switch to light").click()
    expect(page.locator("body")).not_to_have_class(re.compile("dark"))
    page.goto(f"{address}/method")
    expect(page.get_by_role("button", name="Switch to dark")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("body")).not_to_have_class(re.compile("dark"))
    context.close()


def test_a_cell_of_the_conditions_page_leads_to_its_clips(visit):
    page = visit.open("/conditions?dataset=synthetic-clean&target=synthetic-target&fit=transfer")
    page.locator("section[data-grid]:visible td.cell").nth(3).locator("a").click()
    page.wait_for_selector('.linked[data-ready="true"]')
    assert visit.explorer("[e.state.input, e.state.text, e.state.fit]") == [3, "generated", "transfer"]


def test_the_csv_holds_the_filtered_clips(visit, tmp_path):
    page = visit.open("/dataset?label=member&sort=id")
    with page.expect_download() as started:
        page.get_by_role("button", name="Download CSV").click()
    lines = Path(started.value.path()).read_text(encoding="utf-8").strip().split("\n")
    assert len(lines) == 1 + 24 and lines[1].startswith('"synthetic-clean/000",1,true')


def upload(page: Page, path: Path) -> None:
    page.locator('input[type="file"]').first.set_input_files(path)
    expect(page.get_by_role("button", name="Drop Audio Here")).to_be_hidden()
    page.get_by_role("button", name="Score this clip").click()


def test_an_upload_is_placed_among_known_clips(visit, tmp_path):
    soundfile.write(tmp_path / "mine.wav", 0.6 * np.ones(16000), 16000)
    page = visit.open("/score")
    upload(page, tmp_path / "mine.wav")
    result = page.locator("#result")
    expect(result).to_contain_text("25% of 24 known non-members score at least as high", timeout=PATIENCE)
    expect(result.locator("svg .pin")).to_have_count(1)
    expect(result).to_contain_text("silence of the same length")


def test_an_upload_unlike_the_dataset_is_refused_in_words(visit, tmp_path):
    soundfile.write(tmp_path / "long.wav", 0.1 * np.ones(6 * 16000), 16000)
    page = visit.open("/score")
    upload(page, tmp_path / "long.wav")
    expect(page.locator("#result")).to_contain_text("This clip is unlike the dataset. It is long.", timeout=PATIENCE)
    expect(page.locator("#result svg")).to_have_count(0)


@pytest.mark.parametrize("name", ["A known member", "A known non-member", "A chord, no speech"])
def test_an_example_is_scored_by_one_click(visit, name):
    page = visit.open("/score")
    page.get_by_role("button", name=name, exact=True).click()
    expect(page.locator("#result")).to_contain_text("press one now", timeout=PATIENCE)


def test_the_api_has_one_public_endpoint_that_scores_a_file(address, tmp_path):
    from gradio_client import Client, handle_file

    soundfile.write(tmp_path / "mine.wav", 0.3 * np.ones(16000), 16000)
    client = Client(address, verbose=False)
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/score"]
    answer = client.predict(
        handle_file(tmp_path / "mine.wav"), "synthetic-clean", "synthetic-target", "", api_name="/score"
    )
    assert answer["clip"]["score"] == pytest.approx(0.31, abs=0.01)
    assert "known non-members" in answer["sentence"]


def test_no_file_beside_the_served_ones_can_be_fetched(visit, address):
    visit.open("/")
    for path in ("/etc/passwd", str(Path(__file__).parent.parent / "app.py"), "../app.py"):
        assert visit.page.request.get(f"{address}/gradio_api/file={path}").status in (403, 404)
