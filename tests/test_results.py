"""Every figure of results.json follows from the tables."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from precompute import evidence, results
from precompute.attack import dataset_folds, fold_aucs
from precompute.blind import FAMILIES
from precompute.indicators import INDICATORS
from precompute.statistics.intervals import Estimate
from precompute.statistics.multiplicity import benjamini_hochberg
from precompute.statistics.roc import auc
from precompute.tables import cells_of
from tests.fake_scores import FakeAudit, FakeDataset, fake_audit, few_draws


@pytest.fixture(scope="module")
def made() -> tuple[FakeAudit, dict, evidence.Findings]:
    fake = fake_audit([FakeDataset("clean", 60, leak=2.0), FakeDataset("swapped", 50, leak=-2.0)])
    lost = (fake.scores["clip_id"] == "clean/0000") & (fake.scores["condition"] == "original")
    fake.scores.loc[lost, ["mia_score", "mia_score_transfer", "nll"]] = np.nan
    models = results.build_models(fake.scores, fake.fits, fake.folds)
    with few_draws():
        findings = evidence.find(fake.clips, fake.scores, fake.blind)
        return fake, results.build_results(fake.clips, fake.scores, fake.blind, fake.audit, models, findings), findings


def row_of(table: list[dict], **wanted) -> dict:
    (row,) = [row for row in table if all(row[name] == value for name, value in wanted.items())]
    return row


def cell(fake: FakeAudit, **wanted):
    rows = fake.scores
    for name, value in wanted.items():
        rows = rows[rows[name] == value]
    return rows.dropna(subset=["mia_score"])


def test_the_tables_are_plain_and_complete(made):
    _, tables, _ = made
    assert tuple(tables) == results.TABLES
    assert json.loads(json.dumps(tables, allow_nan=False)) == tables
    assert len(tables["blind"]) == len(tables["correlation"]) == 2 * len(FAMILIES)
    assert len(tables["indicators"]) == 2 * 2 * 30
    assert len(tables["mia"]) == 2 * 2 * (2 + 3 * 5)
    assert len(tables["conditions"]) == 2 * 2 * (2 + 3 * 3)
    assert all(
        row["method"]
        for name in ("blind", "adjustment", "mia", "conditions", "controls", "verdicts")
        for row in tables[name]
    )


def test_the_aucs_are_those_of_the_stored_scores_and_exclusions_are_counted(made):
    fake, tables, _ = made
    key = {"dataset": "clean", "condition": "original", "realization": 0, "scored_text": "generated"}
    rows = cell(fake, **key)
    labels = rows["label"].to_numpy()
    found = row_of(tables["mia"], **key, fit="refit")
    assert found["auc"] == pytest.approx(auc(labels, rows["mia_score"].to_numpy()))
    assert found["nll_auc"] == pytest.approx(auc(labels, -rows["nll"].to_numpy()))
    counted = {"n_member": 59, "n_non_member": 60, "excluded_member": 1, "excluded_non_member": 0}
    assert {name: found[name] for name in counted} == counted
    assert found["auc_low"] < found["auc"] < found["auc_high"]
    assert (found["wer_member"], found["wer_non_member"]) == (pytest.approx(0.2), pytest.approx(0.3))


def test_realizations_are_averaged_and_their_spread_is_shown(made):
    fake, tables, _ = made
    key = {"dataset": "clean", "condition": "resynthesis", "scored_text": "carried"}
    found = row_of(tables["conditions"], **key, fit="transfer")
    single = []
    for realization in range(3):
        rows = cell(fake, **key, realization=realization)
        single.append(auc(rows["label"].to_numpy(), rows["mia_score_transfer"].to_numpy()))
    assert found["realizations"] == pytest.approx(single)
    assert found["auc"] == pytest.approx(np.mean(single))
    assert found["sd"] == pytest.approx(np.std(single, ddof=1))


def test_the_difference_from_the_original_is_paired_and_on_the_same_clips(made):
    fake, tables, _ = made
    found = row_of(tables["conditions"], dataset="clean", condition="silence", scored_text="generated", fit="refit")
    base = cell(fake, dataset="clean", condition="original", scored_text="generated").set_index("clip_id")
    other = cell(fake, dataset="clean", condition="silence", scored_text="generated").set_index("clip_id")
    other = other.loc[base.index]
    labels = base["label"].to_numpy()
    pair = [auc(labels, frame["mia_score"].to_numpy()) for frame in (other, base)]
    assert found["difference"] == pytest.approx(pair[0] - pair[1])
    assert found["difference_low"] < found["difference"] < found["difference_high"] < 0
    folds = dataset_folds(fake.clips[fake.clips["dataset"] == "clean"]).loc[base.index].to_numpy()
    by_fold = [list(fold_aucs(labels, frame["mia_score"].to_numpy(), folds)) for frame in (base, other)]
    wanted = stats.ttest_rel(*by_fold)
    assert (found["t"], found["t_p"]) == (pytest.approx(wanted.statistic), pytest.approx(wanted.pvalue))


def test_what_the_target_cannot_read_is_marked(made):
    fake, _, findings = made
    scores = fake.scores[fake.scores["dataset"] == "clean"].copy()
    scores.loc[scores["condition"] == "resynthesis", "wer"] = 0.9
    data, cells = findings.datasets["clean"], cells_of(scores)
    found = results.condition_rows(data, "fake-target", cells, 1.0)
    assert {row["condition"]: row["readable"] for row in found} == {
        "original": True,
        "silence": True,  # nothing to read there: judged on the original
        "noise": True,
        "resynthesis": False,
    }


def test_the_verdicts_follow_the_planted_truth_and_the_direction(made):
    _, tables, _ = made
    clean, swapped = (row_of(tables["verdicts"], dataset=name) for name in ("clean", "swapped"))
    assert (clean["verdict"], swapped["verdict"]) == ("LEAK", "REVERSED")
    assert clean["direction_auc"] > 0.8 and swapped["direction_auc"] < 0.2
    assert clean["trained_members"] is True and clean["trained_non_members"] is False
    assert clean["truth"] == "planted leak 2.0, shift 0.0"
    raw = row_of(tables["mia"], dataset="clean", condition="original", scored_text="generated", fit="refit")
    assert clean["auc"] == pytest.approx(raw["auc"], abs=2e-3)  # stored scores are float32
    assert (clean["n_member"], clean["n_non_member"]) == (raw["n_member"], raw["n_non_member"]) == (59, 60)
    assert (clean["excluded_member"], clean["excluded_non_member"]) == (1, 0)


def test_the_largest_blind_weights_come_with_the_blind_aucs(made):
    fake, tables, _ = made
    found = row_of(tables["blind"], dataset="clean", family="acoustic")
    assert found["top"] == fake.fits["clean"].top["acoustic"]
    assert found["auc_low_90"] >= found["auc_low"]


def test_limits_move_away_from_the_auc_by_the_factor_and_stay_between_0_and_1():
    found = Estimate(0.52, 0.48, 0.56, 0.49, 0.55, 0.02, 50, 50)
    wide = results.widened(found, 1.5)  # one error from chance: all that training adds
    assert (wide.auc, wide.se) == (0.52, pytest.approx(0.03))
    assert (wide.low, wide.high, wide.low_90, wide.high_90) == pytest.approx((0.46, 0.58, 0.475, 0.565))
    assert results.widened(found, 1.0) == found
    assert results.widened(Estimate(0.98, 0.94, 1.0, 0.95, 1.0, 0.02, 9, 9), 3.0).high == 1.0


def test_indicators_are_corrected_by_benjamini_and_hochberg_within_dataset_and_target(made):
    _, tables, _ = made
    rows = [row for row in tables["indicators"] if row["dataset"] == "clean"]
    np.testing.assert_allclose([row["q"] for row in rows], benjamini_hochberg(np.array([row["p"] for row in rows])))
    nll = row_of(rows, indicator="nll", scored_text="generated")
    assert nll["auc"] > 0.8 and nll["q"] < 1e-6


def test_properties_name_what_separates_the_classes(made):
    _, tables, _ = made
    found = [row for row in tables["properties"] if row["dataset"] == "clean"]
    assert found and {"dataset", "property", "auc"} <= set(found[0])
    distances = [abs(row["auc"] - 0.5) for row in found]
    assert distances == sorted(distances, reverse=True)


def test_claims_are_read_for_every_dataset_and_target(made):
    _, tables, _ = made
    (row,) = [row for row in tables["claims"] if row["dataset"] == "clean"]
    assert row["claim"] == "text known, voice not needed"  # planted: the reference text gives members away everywhere
    known = row_of(tables["conditions"], dataset="clean", condition="resynthesis", scored_text="reference", fit="refit")
    assert f"{known['auc']:.2f} [{known['auc_low']:.2f}, {known['auc_high']:.2f}] in another voice" in row["sentence"]


def test_a_text_that_is_likelier_for_non_members_is_not_said_to_be_known_of_members(made):
    fake, tables, findings = made
    assert row_of(tables["verdicts"], dataset="swapped")["verdict"] == "REVERSED"
    cells = cells_of(fake.scores[fake.scores["dataset"] == "swapped"])
    grid = [row for row in tables["conditions"] if row["dataset"] == "swapped"]
    found = results.claim_rows(findings.datasets["swapped"], "fake-target", cells, grid, {})
    assert "text known, voice not needed" not in [row["claim"] for row in found]


def test_results_do_not_depend_on_the_order_of_rows(made):
    fake, tables, _ = made
    mixed = (table.sample(frac=1, random_state=1) for table in (fake.clips, fake.scores, fake.blind))
    with few_draws():
        again = results.build_results(*mixed, fake.audit, results.build_models(fake.scores, fake.fits, fake.folds))
    for name in ("blind", "correlation", "adjustment", "verdicts"):
        first, second = (
            sorted(rows, key=lambda r: (r["dataset"], r.get("family") or "")) for rows in (tables[name], again[name])
        )
        for one, other in zip(first, second, strict=True):
            numbers = {key: value for key, value in one.items() if isinstance(value, float)}
            assert {key: other[key] for key in numbers} == pytest.approx(numbers, abs=1e-6)


def test_a_strong_shift_without_a_leak_is_not_auditable_and_its_grid_is_not_read():
    fake = fake_audit([FakeDataset("shifted", 60, shift=2.0)])
    with few_draws(99, 20):
        tables = results.build_results(fake.clips, fake.scores, fake.blind, fake.audit)
    (found,) = tables["verdicts"]
    assert (found["phase1"], found["verdict"]) == ("SHIFTED", "NOT AUDITABLE")
    assert found["auc_low"] > 0.5 and found["trained_members"] is False
    assert [row["claim"] for row in tables["claims"]] == ["not read"]
    (row,) = tables["adjustment"]
    assert row["lost"] and row["lost"] in found["sentence"] and row["effective_member"] < 50


def test_the_diagonal_of_the_heatmap_keeps_groups_whole_as_the_verdict_does():
    rng = np.random.default_rng(0)
    fake = fake_audit([FakeDataset("spoken", 80)])
    speaker = pd.Series(np.arange(160) // 8, index=fake.clips["clip_id"])  # ten speakers a class, eight clips each
    fake.clips["group"] = speaker.to_numpy().astype(str)
    voices = rng.standard_normal((20, len(INDICATORS)))
    rows = speaker.loc[fake.scores["clip_id"]].to_numpy()
    fake.scores[list(INDICATORS)] = voices[rows] + 0.3 * rng.standard_normal((len(rows), 30))
    with few_draws(60, 20):
        tables = results.build_results(fake.clips, fake.scores, fake.blind, fake.audit)
    (row,) = tables["verdicts"]
    (diagonal,) = tables["heatmap"]
    assert row["auc"] < 0.75  # groups kept whole
    assert diagonal["auc"] == pytest.approx(row["auc"], abs=0.1)
