"""The report prints what results.json holds, in every format."""

import csv
import io
import json
from types import SimpleNamespace

import pytest

from precompute import published, results
from precompute.clips import InputError
from precompute.report import render
from tests.fake_scores import FakeDataset, fake_audit


@pytest.fixture(scope="module")
def bundle() -> SimpleNamespace:
    fake = fake_audit(
        [FakeDataset("LibriSpeech", 30, leak=2.0), FakeDataset("other", 25)], ["one-target", "two-target"]
    )
    made = results.build_results(fake.clips, fake.scores, fake.blind, fake.audit)
    return SimpleNamespace(audit=fake.audit, results=made)


def test_the_text_report_has_both_tables_and_every_verdict_within_the_width(bundle):
    text = render(bundle)
    assert "Table 1" in text and "Table 2" in text
    assert max(len(line) for line in text.splitlines()) <= 140
    flat = " ".join(text.split())
    for row in bundle.results["verdicts"]:
        assert row["sentence"] in flat
        assert f"Planted truth: {row['truth']}" in flat
    for row in bundle.results["blind"]:
        assert f"{row['auc']:.2f} [{row['auc_low']:.2f}, {row['auc_high']:.2f}]" in text


def test_the_summary_has_raw_and_adjusted_values_and_the_corrected_p_of_every_verdict(bundle):
    text = render(bundle, "markdown")
    lines = text.split("## Verdicts, adjusted for what reaches the model")[1].split("##")[0].splitlines()
    for row in bundle.results["verdicts"]:
        (line,) = [line for line in lines if line.startswith(f"| {row['dataset']} | {row['target']} |")]
        assert f"{row['adjusted_auc']:.2f} [{row['adjusted_low']:.2f}, {row['adjusted_high']:.2f}]" in line
        assert f"{row['auc']:.2f} [{row['auc_low']:.2f}, {row['auc_high']:.2f}]" in line
        assert line.endswith(f"| {row['phase1']} | {row['verdict']} |") and "needs 1,000 n" in line


def test_the_methods_paragraph_takes_its_numbers_from_the_results(bundle):
    flat = " ".join(render(bundle).split())
    draws = [row["draws"] for row in bundle.results["verdicts"]]
    assert f"({min(draws)} to {max(draws)} draws, sequential), Holm over {len(draws)} verdicts" in flat


def test_controls_adjustment_and_changes_are_printed(bundle):
    text = render(bundle)
    flat = " ".join(text.split())
    assert text.count("random labels") == len(bundle.results["verdicts"])
    for row in bundle.results["adjustment"]:
        assert f"{row['effective_member']:.0f} + {row['effective_non_member']:.0f}" in text
    assert all(change in flat for row in bundle.results["verdicts"] for change in row["changes"])
    for row in bundle.results["verdicts"]:
        gain = f"{row['added_gain']:+.2f} [{row['added_gain_low']:+.2f}, {row['added_gain_high']:+.2f}]"
        assert f"{row['dataset']} {row['target']} {gain}" in flat


def test_clips_that_could_not_be_scored_are_counted_by_class(bundle):
    lost = [{**row, "excluded_member": 3, "excluded_p": 0.25} for row in bundle.results["verdicts"][:1]]
    text = render(SimpleNamespace(audit=bundle.audit, results={**bundle.results, "verdicts": lost}))
    assert "3 members and 0 non-members could not be scored (Fisher p = 0.25)" in " ".join(text.split())


def test_only_properties_that_hold_after_correction_are_named(bundle):
    row = {"dataset": "other", "words": "length", "unit": "s", "auc": 0.7, "auc_low": 0.6, "auc_high": 0.8}
    row |= {"member_quantiles": [1, 2, 3, 4, 5], "non_member_quantiles": [0, 1, 2, 3, 4]}
    found = [{**row, "q": 0.001}, {**row, "words": "pitch", "q": 0.2}]
    text = render(SimpleNamespace(audit=bundle.audit, results={**bundle.results, "properties": found}))
    assert "length" in text and "pitch" not in text


def test_published_values_stand_beside_datasets_of_the_same_name_only(bundle):
    text = render(bundle)
    lines = [line.split() for line in text.splitlines()]
    assert ["LibriSpeech", "Audio", "Flamingo", "3", "attack", "0.938", "-"] in lines
    assert ["LibriSpeech", "Music", "Flamingo", "metadata", "1.000", "0.35"] in lines
    assert "VoxPopuli" not in text
    none = {name: [r for r in rows if r.get("dataset") == "other"] for name, rows in bundle.results.items()}
    assert "Published" not in render(SimpleNamespace(audit=bundle.audit, results=none))


def test_json_is_the_results_file_itself(bundle):
    assert json.loads(render(bundle, "json")) == bundle.results


def test_csv_holds_every_number_with_its_interval_on_a_line_of_its_own(bundle):
    rows = list(csv.DictReader(io.StringIO(render(bundle, "csv"))))
    for wanted in bundle.results["blind"]:
        (found,) = [
            row
            for row in rows
            if (row["table"], row["quantity"], row["dataset"], row["family"])
            == ("blind", "auc", wanted["dataset"], wanted["family"])
        ]
        assert [float(found[name]) for name in ("value", "low", "high")] == [
            wanted["auc"],
            wanted["auc_low"],
            wanted["auc_high"],
        ]
        assert found["method"] == wanted["method"]
    assert sum(row["quantity"] == "nll_auc" for row in rows) == len(bundle.results["mia"])
    assert {row["value"] for row in rows if row["quantity"] == "verdict"} == {
        row["verdict"] for row in bundle.results["verdicts"]
    }


def test_markdown_tables_have_equal_columns(bundle):
    text = render(bundle, "markdown")
    assert text.startswith("## Table 1")
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1


def test_another_format_is_refused_by_name(bundle):
    with pytest.raises(InputError, match="'pdf' is not a report format"):
        render(bundle, "pdf")


def test_more_targets_than_fit_side_by_side_go_into_a_second_table(bundle):
    names = [f"target-{i}" for i in range(6)]
    wide = {
        name: [{**row, "target": target} for row in rows for target in names] if rows and "target" in rows[0] else rows
        for name, rows in bundle.results.items()
    }
    text = render(SimpleNamespace(audit=bundle.audit, results=wide))
    assert max(len(line) for line in text.splitlines()) <= 140
    assert "target-5" in text


def test_published_tables_are_those_of_the_paper():
    first = {(row["dataset"], row["model"], row["quantity"]): row for row in published.table1()}
    assert len(first) == 8 * 2 * 4
    assert first["GigaSpeech", "Audio Flamingo 3", "attack"]["auc"] == pytest.approx(0.876)
    assert first["TED-LIUM", "Music Flamingo", "text"] | {"auc": None} == {
        **{"dataset": "TED-LIUM", "model": "Music Flamingo", "quantity": "text", "r": 0.41, "auc": None}
    }
    second = {(row["dataset"], row["model"], row["condition"]): row for row in published.table2()}
    assert second["VoxPopuli", "Audio Flamingo 3", "resynthesis"]["sd"] == pytest.approx(0.021)
    assert ("NSynth", "Music Flamingo", "resynthesis") not in second
    assert second["NSynth", "Music Flamingo", "silence"]["auc"] == pytest.approx(0.481)


@pytest.mark.parametrize(
    ("mine", "theirs", "same"),
    [("librispeech-test", "LibriSpeech", True), ("ted_lium", "TED-LIUM", True), ("core-clean", "Clotho", False)],
)
def test_datasets_coincide_by_name_without_case_and_punctuation(mine, theirs, same):
    assert published.coincides(mine, theirs) is same
