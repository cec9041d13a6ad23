"""The explorer without a browser: columns, checks of what a browser sends, sentences, limits, start-up."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_bundle import MISSING_CLIP, TARGETS, write_fake_bundle

from explorer import evidence, grid, method, overview, score_page, single, study, terms
from explorer.catalog import FITS, Catalog
from explorer.columns import Columns
from explorer.packed import CLOSE, unpack
from explorer.served import STATIC, Served, read_light
from explorer.site import table_of
from precompute.bundle import audio_file, write_bundle
from precompute.clips import InputError
from precompute.statistics.intervals import Estimate
from precompute.verdicts import QUESTIONS, Evidence, decide

ROOT = Path(__file__).parent.parent
REFUSED = "This clip is unlike the dataset."


@pytest.fixture(scope="module")
def catalog(tmp_path_factory) -> Catalog:
    return Catalog(write_fake_bundle(tmp_path_factory.mktemp("explorer") / "bundle", per_class=12))


@pytest.fixture(scope="module")
def served(catalog):
    served = Served.open(catalog)
    yield served
    served.close()


def fetched(served: Served, url: str) -> dict:
    return json.loads((served.folder / url.rsplit("/", 1)[1]).read_text(encoding="utf-8"))


def sections(catalog: Catalog) -> list[str]:
    """Evidence of every pair, and every grid."""
    columns = Columns(catalog)
    pairs = [(d, t) for d, row in enumerate(catalog.datasets) for t in catalog.targets_of(row["name"])]
    names = [(catalog.datasets[d]["name"], catalog.targets[t]["id"]) for d, t in pairs]
    evidences = [evidence.section(catalog, columns, d, t) for d, t in pairs]
    return evidences + [grid.section(catalog, *pair, fit) for pair in names for fit in FITS]


def found(share: float = 0.2, refusal: str | None = None) -> dict:
    """An answer in the form of ``score_clip``."""
    return {
        **{"generated_text": "press <b>one</b>", "score": 0.7, "share_non_members": None if refusal else share},
        **{"floor": 1 / 21, "n_non_members": 20, "percentile_members": 0.5, "n_members": 20, "refusal": refusal},
        **{
            "reason": "Too bright.",
            "blind": {"score": 0.4, "share_non_members": 0.6, "floor": 1 / 21, "method": "sound"},
        },
        "tokens": [{"text": "press", "nll": 0.1, "entropy": 0.2, "gap": 0.9}],
    }


def test_importing_the_app_launches_nothing_and_loads_nothing_heavy():
    code = (
        "import sys, app, explorer.site; print([m for m in "
        "('torch','transformers','librosa','sklearn','scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("broken", [False, True])
def test_a_missing_or_broken_bundle_ends_in_one_sentence_and_status_2(tmp_path, broken):
    if broken:
        (tmp_path / "audit.json").write_text("{", encoding="utf-8")
    path = tmp_path if broken else tmp_path / "nowhere"
    done = subprocess.run([sys.executable, "app.py", "--bundle", path], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_columns_keep_the_order_of_the_clips_and_say_null_where_there_is_no_score(served):
    base, columns = fetched(served, served.clips(0)), fetched(served, served.scores(0, 0, 0, 0, 0))
    table = served.catalog.bundle.scores.query(
        "dataset == 'synthetic-clean' and target == 'synthetic-target' and condition == 'original' "
        "and scored_text == 'generated'"
    ).set_index("clip_id")["mia_score"]
    wanted, sent = table.loc[base["id"]].to_numpy(float), unpack(columns["values"])
    np.testing.assert_allclose(sent, wanted, atol=CLOSE)
    np.testing.assert_array_equal(np.argsort(sent), np.argsort(wanted))
    assert np.isnan(sent[5])


def test_the_auc_beside_a_column_is_that_of_the_results(served):
    columns = fetched(served, served.scores(1, 1, 7, 2, 1))
    rows = served.catalog.bundle.results["mia"]
    wanted = {"dataset": "synthetic-shift", "target": "synthetic-target-weak", "condition": "resynthesis"}
    wanted |= {"realization": 2, "scored_text": "reference", "fit": "transfer"}
    (row,) = [r for r in rows if all(r[key] == value for key, value in wanted.items())]
    assert columns["auc"]["auc"] == row["auc"]


def test_the_text_carried_to_the_original_audio_is_the_text_written_for_it(served):
    generated, carried = (fetched(served, served.scores(0, 0, 0, text, 0)) for text in (0, 1))
    assert carried == generated and carried["auc"] is not None


def test_a_clip_names_its_sources_rows_and_tokens(served):
    heard, clip = served.sources(0, 7), served.clip(0, 0, 7)
    assert [s["kind"] for s in heard["sources"]] == [
        "file",
        "silence",
        "silence",
        "render",
        "render",
        "file",
        "file",
        "file",
    ]
    assert heard["sources"][2]["seconds"] == 3.0
    assert heard["text"] == fetched(served, served.texts(0))[7]
    tokens = clip["tokens"]["0.reference"]
    assert len(tokens["token"]) == len(tokens["nll"]) == len(tokens["gap"]) > 0
    assert "".join(tokens["token"]).split() == clip["rows"]["0.reference"]["wrote"].split()
    assert len(served.indicators(0, 0, 7, 0, 0)) == 30 and served.indicators(0, 0, 7, 0, 1) != {}
    json.dumps([heard, clip, served.indicators(0, 0, 7, 5, 2)], allow_nan=False)


def test_a_clip_without_audio_says_so_for_everything_but_silence(served):
    clips = fetched(served, served.clips(0))["id"]
    sources = served.sources(0, clips.index(MISSING_CLIP))["sources"]
    assert [source["kind"] for source in sources] == ["missing", "silence", "silence", *["missing"] * 5]
    assert "no audio of this clip for “original”" in sources[0]["sentence"]


def test_every_part_of_the_page_has_a_name_of_its_own():
    names = re.findall(r'data-part="([^"]+)"', (STATIC / "linked.html").read_text(encoding="utf-8"))
    assert len(names) == len(set(names)) > 40


def test_noise_is_rendered_once_on_listening_as_loud_and_long_as_the_clip(served):
    url = served.listen(0, 7, 3)["url"]
    path = served.folder / url.rsplit("/", 1)[1]
    written = path.stat().st_mtime_ns
    noise, rate = soundfile.read(path)
    clip_id = fetched(served, served.clips(0))["id"][7]
    original = read_light(audio_file(served.catalog.bundle.path, clip_id))
    assert rate == 16000 and len(noise) == len(original)
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(np.sqrt(np.mean(original.astype(float) ** 2)), rel=0.02)
    assert served.listen(0, 7, 3)["url"] == url and path.stat().st_mtime_ns == written


@pytest.mark.parametrize("value", [-1, 99, "0", "../../etc/passwd", None, 1.0, True, [0]])
def test_a_number_from_a_browser_has_to_be_a_whole_number_in_range(served, value):
    calls = (
        *(lambda: served.clips(value), lambda: served.texts(value), lambda: served.scores(0, 0, 0, value, 0)),
        *(lambda: served.scores(0, 0, 0, 0, value), lambda: served.clip(0, 0, value), lambda: served.sources(0, value)),
        *(lambda: served.indicators(0, 0, 0, 0, value), lambda: served.listen(0, value, 3)),
        *(lambda: served.evidence(0, value), lambda: served.grid(0, 0, value)),
    )
    for call in calls:
        with pytest.raises(InputError):
            call()


def test_only_noise_is_rendered_on_listening(served):
    with pytest.raises(InputError):
        served.listen(0, 7, 0)


def test_the_served_folder_holds_scripts_columns_and_noise_and_nothing_else(served):
    served.scores(0, 0, 1, 0, 0)
    served.listen(0, 8, 4)
    assert {path.suffix for path in served.folder.iterdir()} <= {".js", ".json", ".flac"}
    assert not [path for path in served.folder.iterdir() if path.name.startswith(".")]


def test_the_table_follows_filter_order_and_choices(served):
    request = {
        "dataset": 0,
        "target": 0,
        "input": 0,
        "text": "generated",
        "fit": "refit",
        "family": "text",
        "rows": [7, 2],
    }
    table = table_of(served, request)
    ids = fetched(served, served.clips(0))["id"]
    assert table["clip"].tolist() == [ids[7], ids[2]]
    assert table["class"].tolist() == ["member", "member"]
    for wrong in ({"rows": [10_000]}, {"text": "x"}, {"family": "clip_id"}, {"dataset": "0"}):
        with pytest.raises(InputError):
            table_of(served, {**request, **wrong})


def cell(low: float, high: float, readable: bool = True) -> dict:
    return {"auc": (low + high) / 2, "auc_low": low, "auc_high": high, "condition": "resynthesis", "readable": readable}


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({("generated", "original"): cell(0.45, 0.55)}, "Nothing to collapse"),
        ({("generated", "original"): cell(0.8, 0.9)}, "cannot tell a bound voice"),
        (
            {("generated", "original"): cell(0.8, 0.9), ("reference", "resynthesis"): cell(0.6, 0.7)},
            "The text itself is known",
        ),
        (
            {("generated", "original"): cell(0.8, 0.9), ("reference", "resynthesis"): cell(0.47, 0.53)},
            "consistent with",
        ),
        (
            {("generated", "original"): cell(0.8, 0.9), ("reference", "resynthesis"): cell(0.44, 0.6)},
            "no claim of binding",
        ),
        (
            {
                ("generated", "original"): cell(0.8, 0.9),
                ("generated", "resynthesis"): cell(0.4, 0.5, readable=False),
                ("reference", "resynthesis"): cell(0.47, 0.53),
            },
            "cannot read the original or another voice",
        ),
    ],
)
def test_binding_is_claimed_only_where_the_transcript_row_could_have_shown_the_opposite(cells, words):
    assert words in grid.meaning(cells)


def test_a_score_no_better_than_blind_features_supports_no_sentence_about_memory():
    cells = {("generated", "original"): cell(0.7, 0.8), ("reference", "resynthesis"): cell(0.45, 0.5)}
    assert "not clearly above the 0.75 [0.70, 0.80]" in grid.meaning(cells, cell(0.7, 0.8))


def test_a_transcript_row_that_separates_is_named_even_where_the_own_text_does_not():
    cells = {("generated", "original"): cell(0.45, 0.55), ("reference", "original"): cell(0.95, 1.0)}
    assert "On the known transcript" in grid.meaning(cells)


def test_every_page_escapes_what_comes_from_a_bundle(catalog):
    attack = '<img src=x onerror="alert(1)">'
    audit = json.loads(json.dumps(catalog.bundle.audit))
    for row in (*audit["datasets"], *audit["targets"]):
        row.update(title=attack, description=attack, attribution=attack, family=attack, prompt=attack)
    results = json.loads(json.dumps(catalog.bundle.results))
    for row in results["verdicts"]:
        row.update(sentence=attack, verdict=attack, phase1_sentence=attack, changes=[attack])
        row["steps"] = [{"question": attack, "answer": True, "because": attack}]
    for row in (*results["properties"], *results["adjustment"], *results["controls"], *results["claims"]):
        row.update(
            words=attack, unit=attack, design=attack, control=attack, method=attack, claim=attack, sentence=attack
        )
    bundle = replace(catalog.bundle, audit=audit | {"part": attack}, results=results)
    hostile = Catalog(bundle)
    pages = [overview.overview(hostile), overview.heatmaps(hostile), grid.page(hostile), method.page(hostile)]
    pages += [evidence.page(hostile), *sections(hostile)]
    for page in pages:
        assert attack not in page
        assert "onerror" in page


def test_the_overview_names_every_pair_with_verdict_numbers_and_part(catalog):
    page = overview.overview(catalog)
    assert "This bundle audits a part of each dataset" in page and "corrected over all 4 rows" in page
    for row in catalog.bundle.results["verdicts"]:
        assert f"{row['adjusted_auc']:.2f} [{row['adjusted_low']:.2f}" in page
        assert row["verdict"] in page and f"{row['auc']:.2f} [{row['auc_low']:.2f}" in page


def test_the_evidence_page_asks_every_question_that_was_asked_with_its_answer_and_number(catalog):
    page = "".join(sections(catalog))
    for row in catalog.bundle.results["verdicts"]:
        for step in row["steps"]:
            assert html.escape(step["question"]) in page and html.escape(step["because"]) in page
        assert all(html.escape(change) in page for change in row["changes"])


def test_a_control_that_did_not_hold_is_named_and_counted(catalog):
    page = evidence.controls(catalog, "synthetic-clean", "synthetic-target")
    assert page.count("<strong>not held</strong>") == 1
    assert "Of the 8 controls of this bundle 4 did not hold" in page


def test_a_low_rate_is_a_share_with_its_interval_or_the_number_of_clips_it_takes():
    known = {"tpr_at_0.01": 0.123, "tpr_at_0.01_low": 0.1, "tpr_at_0.01_high": 0.15}
    assert evidence.low_rate(known, "0.01") == "12.3% [10.0, 15.0]"
    few = {"tpr_at_0.01": None, "tpr_at_0.01_needs": 1000, "n_non_member": 277}
    assert evidence.low_rate(few, "0.01") == "needs 1,000 non-members, there are 277"


def length(q: float, member: float, other: float) -> dict:
    quantiles = {"member_quantiles": [0, 1, member, 9, 10], "non_member_quantiles": [0, 1, other, 9, 10]}
    auc = 0.7 if member > other else 0.3
    return {"property": "metadata.duration_s", "words": "length", "unit": "s", "auc": auc, "q": q, **quantiles}


def test_what_separates_the_classes_is_said_in_words_with_both_medians():
    assert evidence.difference([length(0.01, 3.14, 1.9)]) == "Members are longer: 3.14 s against 1.9 s (median)"
    assert evidence.difference([length(0.01, 1.9, 3.14)]) == "Members are shorter: 1.9 s against 3.14 s (median)"
    other = length(0.01, 128_010.0, 127_990.0) | {"property": "x", "words": "bit rate", "unit": "bit/s"}
    assert "Members have more of this: bit rate, 128,010 bit/s against 127,990 bit/s" in evidence.difference([other])


def test_a_property_that_does_not_hold_after_correction_is_not_called_a_difference():
    assert "No single property" in evidence.difference([length(0.2, 3.1, 1.9)])


def test_the_share_of_clips_per_class_is_drawn_on_one_scale(catalog):
    page = evidence.separation(catalog, 1)
    row = catalog.rows("properties")[1]
    assert row["dataset"] == "synthetic-shift" and page.count("<circle") == 2
    assert evidence.amount(row, "member") in page


def case(**changed) -> Evidence:
    """Evidence of a clear leak without a shift, but for what a test changes."""
    sure = Estimate(0.8, 0.75, 0.85, 0.76, 0.84, 0.025, 500, 500)
    same = Estimate(0.5, 0.48, 0.52, 0.48, 0.52, 0.01, 500, 500)
    usual = {"dataset": "d", "target": "t", "attack": sure, "adjusted": sure, "p": 0.001, "p_holm": 0.001, "tests": 1}
    usual |= {"draws": 999, "lost": None, "enough_groups": True, "groups": "", "blind": [("text", same)]}
    return Evidence(**(usual | {"direction": [("generated", sure)]} | changed))


LOW = Estimate(0.2, 0.15, 0.25, 0.16, 0.24, 0.025, 500, 500)
SHIFT = Estimate(0.9, 0.88, 0.92, 0.88, 0.92, 0.01, 500, 500)


@pytest.mark.parametrize(
    ("question", "word", "found"),
    [
        ("scored", "UNDECIDED", case(attack=None, adjusted=None)),
        ("overlap", "NOT AUDITABLE", case(lost="too few")),
        ("direction", "LEAK", case()),
        ("direction", "REVERSED", case(direction=[("generated", LOW)])),
        ("direction", "UNDECIDED", case(direction=[])),
        ("groups", "UNDECIDED", case(enough_groups=False)),
        ("power", "UNDECIDED", case(p_holm=0.5, adjusted=replace(LOW, se=0.05))),
        ("shift", "SHIFT ONLY", case(p_holm=0.5, blind=[("text", SHIFT)])),
        ("shift", "NO LEAK SEEN", case(p_holm=0.5)),
    ],
)
def test_the_drawn_decision_ends_where_the_decision_ends(question, word, found):
    decided = decide(found)
    assert (decided.steps[-1].question, decided.verdict) == (QUESTIONS[question], word)
    assert word in method.ENDINGS[question][1].split(", ")


def studied() -> dict:
    def rates(name: str, value: float | None) -> dict:
        near = None if value is None else 0.02
        return {name: value, f"{name}_low": near and max(0, value - near), f"{name}_high": near and value + near}

    def row(world: str, method: str, false: float | None, power: float | None) -> dict:
        other = {"wrong": 0.01, "false_shifted": None, "coverage_raw": 0.95, "coverage_adjusted": 0.95}
        return {
            **{"world": world, "description": "<b>nothing", "expected": "no LEAK", "n_per_class": 500, "effect": None},
            **{"draws": 1000, "method": method, "verdicts": {"UNDECIDED": 1000}, **rates("false_leak", false)},
            **{key: found for name, value in other.items() for key, found in rates(name, value).items()},
            **rates("power", power),
        }

    rules = ("audit", "paper 0.55", "paper 0.67")
    rows = [row("S0", rule, 0.01, None) for rule in rules] + [row("S2", rule, None, 0.8) for rule in rules]
    trained = {"world": "S5", "seed": 0, "expected": "bound", "sentences": ["open"], "right": False}
    return {"command": "validate", "versions": {}, "rows": rows, "trained": [trained], "embedded": []}


def test_the_study_is_drawn_with_its_rates_for_the_audit_and_for_the_papers_rule(tmp_path):
    (tmp_path / "study.json").write_text(json.dumps(studied()))
    page = study.section(study.read_study(tmp_path / "study.json"))
    drawn = page.split("<details>")[0]
    assert drawn.count('class="value"') == 4 and drawn.count("1.0% [0.0, 3.0]") == 2
    assert drawn.count("does not apply") == 2 and "<b>" not in page and "WRONG" in page


def test_a_study_that_was_not_run_is_said_to_be_missing(tmp_path):
    assert "was not run" in study.section(study.read_study(tmp_path / "study.json"))


def test_every_term_can_be_reached_and_explains_itself():
    for name, why in terms.TERMS.items():
        assert terms.term(name) == f'<abbr tabindex="0" title="{html.escape(why)}">{html.escape(name)}</abbr>'


def test_a_bundle_from_before_the_adjustment_still_opens_on_every_page(catalog, tmp_path):
    keys = ("blind", "mia", "indicators", "correlation", "heatmap", "conditions", "verdicts")
    results = {key: catalog.bundle.results[key] for key in keys}
    new = ("steps", "changes", "adjusted_auc", "adjusted_low", "adjusted_high", "p_holm", "phase1_sentence")
    results["verdicts"] = [{k: v for k, v in row.items() if k not in new} for row in results["verdicts"]]
    blind = catalog.bundle.blind.drop(columns=["overlap_weight", "propensity", "fingerprint_score"])
    scores = catalog.bundle.scores.drop(columns="mia_score_adjusted")
    parts = {"audit": catalog.bundle.audit, "clips": catalog.bundle.clips, "tokens": catalog.bundle.tokens()}
    old = Catalog(write_bundle(tmp_path / "old", **parts, scores=scores, blind=blind, models={}, results=results))
    for page in (overview.overview(old), grid.page(old), method.page(old), evidence.page(old)):
        assert page.startswith('<div class="page">')
    assert results["verdicts"][0]["reasons"][0] in html.unescape("".join(sections(old)))
    columns = Columns(old)
    assert columns.clips_file(0)["weight"] is None and columns.clips_file(0)["pairs"]["member"] == []
    assert columns.scores_file(0, 0, 0, "generated", "refit")["adjusted"] is None
    Served.open(old).close()


def test_weights_pairs_and_adjusted_scores_are_in_the_order_of_the_clips(served):
    base, columns = fetched(served, served.clips(1)), fetched(served, served.scores(1, 0, 0, 0, 0))
    row = served.catalog.rows("pairs")[12]
    assert base["id"][base["pairs"]["member"][0]] == row["member"]
    assert base["id"][base["pairs"]["non_member"][0]] == row["non_member"]
    assert base["pairs"]["distance"][0] == round(row["distance"], 3)
    verdict = served.catalog.verdicts["synthetic-shift", "synthetic-target"]
    values = unpack(columns["adjusted"])
    known, y, w = np.isfinite(values), np.array(base["label"]) == 1, unpack(base["weight"])
    higher = np.sign(values[known & y][:, None] - values[known & ~y]) / 2 + 0.5
    area = np.average(higher, weights=np.outer(w[known & y], w[known & ~y]))
    assert area == pytest.approx(verdict["adjusted_auc"], abs=2e-3)
    for further in ((1, 0, 0), (0, 2, 0), (0, 0, 1)):
        assert fetched(served, served.scores(1, 0, *further))["adjusted"] is None


def test_why_is_answered_for_pairs_of_the_bundle_only(served):
    assert html.escape(QUESTIONS["scored"]) in served.why(0, 0)
    for pair in ((9, 0), (0, "0")):
        with pytest.raises(InputError):
            served.why(*pair)


def test_the_method_page_explains_every_indicator_and_condition(catalog):
    from precompute.conditions import CONDITIONS
    from precompute.indicators import INDICATORS

    page = method.page(catalog)
    assert all(f"<code>{name}</code>" in page for name in (*INDICATORS, *CONDITIONS))


def test_the_papers_tables_are_printed_as_published():
    page = overview.published()
    assert "LibriSpeech" in page and "0.938" in page and "0.484 ± 0.021" in page


def test_an_upload_is_scored_as_it_is_as_silence_and_in_another_voice(catalog, tmp_path, monkeypatch):
    heard = []

    def scorer(samples, text, dataset, target):
        heard.append((len(samples), float(np.abs(samples).max()), text))
        return found()

    monkeypatch.setattr(single, "render", lambda name, clip, samples, realization, text: np.full(8000, 0.3, np.float32))
    soundfile.write(tmp_path / "a.wav", 0.2 * np.ones((22050, 2)), 22050)
    result = single.score_upload(tmp_path / "a.wav", "synthetic-clean", "synthetic-target", " hi ", catalog, scorer)
    assert [round(peak, 1) for _, peak, _ in heard] == [0.2, 0.0, 0.3]
    assert [length for length, _, _ in heard] == [16000, 16000, 8000]
    assert [text for _, _, text in heard] == ["hi", None, None]
    assert result["seconds"] == 1.0 and "20% of 20 known non-members" in result["sentence"]
    assert "&lt;b&gt;one" in score_page.result_html(result, catalog)


@pytest.mark.parametrize(("seconds", "words"), [(31, "the limit is 30 s"), (0.05, "too short")])
def test_an_upload_beyond_the_limits_is_refused_in_words(tmp_path, seconds, words):
    soundfile.write(tmp_path / "a.wav", np.zeros(int(8000 * seconds)), 8000)
    with pytest.raises(InputError, match=words):
        single.read_upload(tmp_path / "a.wav")


def test_what_is_no_audio_and_what_is_gone_is_refused_in_words(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"no audio at all")
    for path, words in ((tmp_path / "a.wav", "cannot be read"), (tmp_path / "b.wav", "gone"), (None, "Choose a file")):
        with pytest.raises(InputError, match=words):
            single.read_upload(path)
    (tmp_path / "c.wav").write_bytes(bytes(11_000_000))
    with pytest.raises(InputError, match="10 MB"):
        single.read_upload(tmp_path / "c.wav")


def test_a_pair_that_was_not_run_is_an_error_in_words(catalog, tmp_path):
    answer = single.score_upload(tmp_path / "a.wav", "synthetic-clean", "other", None, catalog, lambda *a: found())
    assert answer == {"error": "This target was not run on this dataset; choose another pair."}


def test_a_refusal_shows_no_histogram_and_no_share(catalog):
    result = {"dataset": "synthetic-clean", "target": next(iter(TARGETS)), "seconds": 1.0, "sentence": REFUSED}
    page = score_page.result_html(
        {**result, "clip": found(refusal=REFUSED), "silence": found(), "voice": None, "voice_note": ""}, catalog
    )
    assert REFUSED in page and "data-histogram" not in page


def test_the_share_is_said_with_its_count_and_its_floor_and_never_as_membership():
    said = single.sentence(found(share=1 / 21))
    assert "of 20 known non-members" in said and "cannot fall below 4.8%" in said
    assert "was in" not in said and "probab" not in said


def test_only_files_in_the_upload_folder_are_deleted(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    inside, outside = tmp_path / "uploads" / "a.wav", tmp_path / "b.wav"
    inside.parent.mkdir()
    for path in (inside, outside):
        path.write_bytes(b"x")
        score_page.forget(path)
    score_page.forget(tmp_path / "uploads" / ".." / "b.wav")
    assert not inside.exists() and outside.exists()


def test_examples_come_from_the_bundle_and_from_nowhere_near_it(catalog):
    assert single.example_path(catalog, "synthetic-clean", 1).is_file()
    with pytest.raises(InputError):
        single.example_path(catalog, "no such dataset", 1)
    rate, chord = single.something_else()
    assert rate == 16000 and np.abs(chord).max() < 32767
