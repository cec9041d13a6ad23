"""What a verdict rests on, dataset by dataset and target by target, and one correction over all of them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit
from sklearn.metrics import roc_auc_score

from precompute import attack, evidence, results
from precompute.adjustment import squares_check
from precompute.attack import sigmoid
from precompute.clips import Clip, Cohort, InputError
from precompute.evidence import added_value, control_rows, dataset_of, reference_rows
from precompute.given import GIVEN
from precompute.headline import find_headline, find_overlap
from precompute.indicators import INDICATORS
from precompute.request import check_cohorts
from precompute.statistics.incremental import likelihood_ratio
from precompute.statistics.multiplicity import holm
from tests.fake_scores import FakeDataset, fake_audit, fake_clips, few_draws

TARGETS = ("first", "second")


@pytest.fixture(scope="module")
def made() -> SimpleNamespace:
    """Two datasets and two targets, of which the second is the unexposed one, and a target known by scores alone."""
    fake = fake_audit([FakeDataset("leaky", 50, leak=2.5), FakeDataset("empty", 40)], TARGETS)
    unexposed = fake_audit([FakeDataset("leaky", 50), FakeDataset("empty", 40)], TARGETS).scores
    second = fake.scores["target"] == "second"
    scores = pd.concat([fake.scores[~second], unexposed[unexposed["target"] == "second"]], ignore_index=True)
    lost = scores["clip_id"].isin(["leaky/0001", "leaky/0060", "leaky/0061"]) & (scores["target"] == "first")
    scores.loc[lost, [*INDICATORS, "mia_score", "mia_score_transfer"]] = np.nan
    given = attack.original(scores)[lambda rows: rows["target"] == "first"].assign(target="given")
    given["mia_score"] = -100.0 * given["nll"]
    given[list(INDICATORS)] = np.nan
    scores = pd.concat([scores, given], ignore_index=True)
    targets = [{"id": "first"}, {"id": "second"}, {"id": "given", "family": GIVEN}]
    audit = {**fake.audit, "targets": targets, "reference_target": "second"}
    with few_draws(99, 30):
        findings = evidence.find(fake.clips, scores, fake.blind, given=["given"])
        tables = results.build_results(fake.clips, scores, fake.blind, audit, None, findings)
    return SimpleNamespace(fake=fake, scores=scores, findings=findings, tables=tables)


def row_of(made: SimpleNamespace, dataset: str, target: str, table: str = "verdicts") -> dict:
    (row,) = [row for row in made.tables[table] if (row["dataset"], row["target"]) == (dataset, target)]
    return row


def test_there_is_one_verdict_per_dataset_and_target(made):
    keys = [(row["dataset"], row["target"]) for row in made.tables["verdicts"]]
    assert sorted(keys) == sorted((d, t) for d in ("leaky", "empty") for t in ("first", "second", "given"))


def test_holm_runs_over_all_verdicts_of_the_audit(made):
    rows = made.tables["verdicts"]
    np.testing.assert_allclose([row["p_holm"] for row in rows], holm(np.array([row["p"] for row in rows])))
    assert {row["tests"] for row in rows} == {6}
    # 99 draws reach 0.01; times six verdicts that is 0.06 and no leak can be shown.
    assert row_of(made, "leaky", "first")["p"] == pytest.approx(0.01)
    assert row_of(made, "leaky", "first")["p_holm"] == pytest.approx(0.06)
    assert row_of(made, "leaky", "first")["verdict"] != "LEAK"


def test_a_target_that_could_not_be_scored_is_not_corrected_for(made):
    key = ("empty", "second")
    one = made.findings.headlines[key]
    blank = replace(one.adjusted, auc=float("nan"), se=float("nan"))
    findings = replace(made.findings, headlines={**made.findings.headlines, key: replace(one, adjusted=blank)})
    blind = {name: {"joint": np.full(len(data.labels), np.nan)} for name, data in findings.datasets.items()}
    rows = evidence.verdict_rows(findings, made.scores, blind, {"leaky": {}, "empty": {}}, {}, ["given"])
    by_key = {(row["dataset"], row["target"]): row for row in rows}
    assert by_key[key]["p_holm"] is None and by_key[key]["verdict"] == "UNDECIDED"
    assert {row["tests"] for row in rows} == {5}
    assert by_key["leaky", "first"]["p_holm"] == pytest.approx(0.05)
    assert by_key["leaky", "first"]["added_lr"] is None and by_key["leaky", "first"]["blind_family"] is None


def test_the_planted_leak_is_in_its_target_and_not_in_the_unexposed_one(made):
    assert row_of(made, "leaky", "first")["adjusted_low"] > 0.6
    assert row_of(made, "leaky", "second")["adjusted_low"] < 0.5
    assert row_of(made, "empty", "first")["p"] > 0.05


def test_clips_without_a_score_are_counted_by_class(made):
    row = row_of(made, "leaky", "first")
    assert (row["excluded_member"], row["excluded_non_member"]) == (1, 2)
    assert (row["n_member"], row["n_non_member"]) == (49, 48)
    assert row["excluded_p"] == pytest.approx(1.0)  # Fisher: 1 and 2 of 50 differ by nothing
    other = row_of(made, "leaky", "second")
    assert (other["excluded_member"], other["excluded_non_member"]) == (0, 0)


def test_given_scores_are_judged_by_their_own_order_and_nothing_is_widened(made):
    row = row_of(made, "leaky", "given")
    cell = made.scores[(made.scores["target"] == "given") & (made.scores["dataset"] == "leaky")].dropna(
        subset="mia_score"
    )
    assert row["auc"] == pytest.approx(roc_auc_score(cell["label"], cell["mia_score"]))
    assert row["factor"] < 1.25 and "scores made elsewhere" in row["method"]
    weights = made.findings.overlaps["leaky"].fitted.weights
    data = made.findings.datasets["leaky"]
    score = data.column(cell, "mia_score")
    kept = np.isfinite(score)
    wanted = roc_auc_score(data.labels[kept], score[kept], sample_weight=weights[kept])
    assert row["adjusted_auc"] == pytest.approx(wanted) and row["direction_auc"] == pytest.approx(wanted)


def test_low_false_positive_rates_are_shown_only_with_enough_non_members(made):
    row = row_of(made, "leaky", "first")
    assert row["tpr_at_0.01"] is None and row["tpr_at_0.01_needs"] == 1000 and row["tpr_at_0.001_needs"] == 10_000


def test_controls_hold_where_nothing_is_wrong_and_are_made_of_one_class_each(made):
    rows = [row for row in made.tables["controls"] if row["target"] == "first" and row["dataset"] == "leaky"]
    found = {row["control"]: row for row in rows}
    assert list(found) == ["random labels", "members against members", "non-members against non-members"]
    assert (found["members against members"]["n"], found["non-members against non-members"]["n"]) == (49, 48)
    assert found["random labels"]["n"] == 97 and found["random labels"]["held"]
    assert found["random labels"]["auc"] == pytest.approx(0.5, abs=0.05)


def test_a_control_that_does_not_hold_says_so():
    row = evidence._control("d", "t", "random labels", 0.6, 0.55, 0.65)
    assert row["held"] is False and evidence._control("d", "t", "c", 0.5, 0.45, 0.55)["held"] is True


def test_the_unexposed_target_is_taken_off_clip_by_clip(made):
    rows = {row["kind"]: row for row in made.tables["reference"] if row["dataset"] == "leaky"}
    assert {(row["target"], row["reference"]) for row in rows.values()} == {("first", "second")}
    assert len(rows) == 3 and all(row["n_member"] == 49 for row in rows.values() if "difference" in row["kind"])
    difference, own = rows["attack on the difference of indicators"], rows["the reference target's own attack"]
    assert difference["auc_low"] > 0.5 > own["auc_low"] and difference["p"] < 0.05 < own["p"]
    assert rows["difference of mean NLL, sign fixed"]["auc_low"] > 0.5
    assert rows["difference of mean NLL, sign fixed"]["p"] is None


def test_the_sign_of_the_difference_is_that_of_memory(made):
    """Members the audited target is surer of than the reference target: an AUC above one half, below if swapped."""
    data, overlap = made.findings.datasets["leaky"], made.findings.overlaps["leaky"]
    cells = {
        target: attack.original(made.scores[(made.scores["target"] == target) & (made.scores["dataset"] == "leaky")])
        for target in TARGETS
    }
    forth, back = (
        reference_rows(data, a, cells[a], b, cells[b], overlap, 0)[2]["auc"] for a, b in (TARGETS, TARGETS[::-1])
    )
    assert forth > 0.6 and forth == pytest.approx(1 - back, abs=1e-9)


def test_a_target_is_not_compared_with_itself_and_given_scores_with_nobody(made):
    assert {row["target"] for row in made.tables["reference"]} == {"first"}


def test_the_adjustment_says_what_is_left_and_pairs_point_to_clips(made):
    (row,) = [row for row in made.tables["adjustment"] if row["dataset"] == "leaky"]
    overlap = made.findings.overlaps["leaky"]
    assert row["n_member"] == row["n_non_member"] == 50 and row["lost"] is None
    assert row["effective_member"] == pytest.approx(overlap.effective_member)
    assert row["propensity_quantiles_member"] == sorted(row["propensity_quantiles_member"])
    labels = made.fake.clips.set_index("clip_id")["label"]
    pairs = [row for row in made.tables["pairs"] if row["dataset"] == "leaky"]
    assert pairs and all(labels[p["member"]] == 1 and labels[p["non_member"]] == 0 for p in pairs)


# --- datasets ------------------------------------------------------------------------------------------------------


def test_a_dataset_is_ordered_by_clip_and_columns_follow_it():
    clips = fake_clips(FakeDataset("a", 25)).sample(frac=1, random_state=0)
    data = dataset_of("a", clips, 0)
    assert data.clips["clip_id"].is_monotonic_increasing
    table = pd.DataFrame({"clip_id": data.clips["clip_id"][::-1][:-1], "x": np.arange(49.0)})
    column = data.column(table, "x")
    assert np.isnan(column[0]) and column[1] == 48.0 and column[-1] == 0.0
    np.testing.assert_array_equal(data.sample.folds, attack.dataset_folds(clips)[data.clips["clip_id"]])


def test_resamples_that_were_let_go_are_drawn_again_alike(made):
    data = made.findings.datasets["leaky"]
    before = data.weights.copy()
    data.let_go()
    assert "weights" not in vars(data)
    np.testing.assert_array_equal(data.weights, before)


def test_groups_of_both_classes_are_strata_and_groups_of_one_class_are_not():
    clips = fake_clips(FakeDataset("a", 60))
    clips["group"] = [f"g{i % 6}" for i in range(120)]
    crossed = dataset_of("a", clips, 0).sample
    assert len(np.unique(crossed.strata)) == 6 and not crossed.design.nested
    clips["group"] = [f"g{i // 10}" for i in range(120)]
    nested = dataset_of("a", clips, 0).sample
    assert nested.design.nested and (nested.strata == 0).all() and nested.design.groups_member == 6


# --- added value ---------------------------------------------------------------------------------------------------


def added(mix: float, seed: int = 0) -> dict:
    """A membership score that is the blind score plus noise, and `mix` times something of its own."""
    clips = fake_clips(FakeDataset("a", 200))
    data = dataset_of("a", clips, 0)
    rng = np.random.default_rng(seed)
    labels = data.labels
    blind = 1.0 * labels + rng.standard_normal(400)
    mia = blind + mix * labels + rng.standard_normal(400)
    return added_value(data, sigmoid(blind).astype(float), sigmoid(mia).astype(float), 1.0)


def test_a_score_that_is_the_blind_score_plus_noise_adds_nothing():
    ps = [added(0.0, seed)["added_p"] for seed in range(20)]
    assert np.mean(np.array(ps) < 0.05) <= 0.2
    found = added(0.0)
    assert found["added_gain"] == pytest.approx(0.0, abs=0.02)
    assert found["added_gain_low"] < 0


def test_a_score_that_knows_more_adds():
    found = added(2.0)
    assert found["added_p"] < 1e-6 and found["added_gain_low"] > 0.02 and found["added_lr"] > 30


def test_without_both_classes_or_any_blind_score_nothing_is_said_of_added_value():
    data = dataset_of("a", fake_clips(FakeDataset("a", 30)), 0)
    nothing = np.full(60, np.nan)
    for blind in (nothing, np.where(data.labels == 1, 0.3, np.nan)):
        assert set(added_value(data, blind, np.linspace(0, 1, 60), 1.0).values()) == {None}


def test_the_factor_divides_the_statistic_by_its_square():
    data = dataset_of("a", fake_clips(FakeDataset("a", 60)), 0)
    rng = np.random.default_rng(0)
    blind, mia = rng.random(120), rng.random(120) + 0.3 * data.labels
    first, second = (added_value(data, blind, mia, factor) for factor in (1.0, 1.5))
    assert second["added_lr"] == pytest.approx(first["added_lr"] / 2.25)


def test_added_value_is_tested_on_logits(made):
    """A probability is no straight line in the logit: the bend that the blind score leaves, its noisy copy explains."""
    data, headline = made.findings.datasets["leaky"], made.findings.headlines["leaky", "second"]
    cell = attack.original(made.scores[made.scores["target"] == "second"])
    joint, mia = (
        logit(data.column(table[table["dataset"] == "leaky"], name))
        for table, name in ((made.fake.blind, "joint_score"), (cell, "mia_score"))
    )
    wanted = likelihood_ratio(data.labels, joint, mia, headline.raw_null.factor)
    assert row_of(made, "leaky", "second")["added_lr"] == pytest.approx(wanted.statistic, abs=1e-3)


# --- defects -------------------------------------------------------------------------------------------------------


def grouped(per_class: int, groups_per_class: int) -> SimpleNamespace:
    """A dataset whose labels go with whole speakers, its overlap and headline, and the target's rows."""
    fake = fake_audit([FakeDataset("a", per_class)])
    clips = fake.clips.assign(group=[f"g{i // (per_class // groups_per_class)}" for i in range(2 * per_class)])
    data = dataset_of("a", clips, 0)
    cell = attack.original(fake.scores)
    table = fake.blind.set_index("clip_id").reindex(data.clips["clip_id"]).reset_index()
    overlap = find_overlap(data.sample, evidence.covariates(table, [None] * 2 * per_class), squares_check)
    headline = find_headline(data.sample, data.matrix(cell, INDICATORS), overlap, draws=20, plain=20, least=20)
    return SimpleNamespace(data=data, cell=cell, headline=headline)


def test_controls_of_grouped_clips_split_whole_groups():
    case = grouped(60, 6)
    rows = control_rows(case.data, "fake-target", case.cell, case.headline, 0)
    assert len(rows) == 3 and all(row["n"] == 60 for row in rows[1:])


@pytest.mark.parametrize("groups", [2, 3])
def test_controls_do_not_fail_with_few_speakers(groups):
    case = grouped(60, groups)
    assert len(control_rows(case.data, "fake-target", case.cell, case.headline, 0)) >= 1


def test_a_list_with_one_speaker_a_class_is_refused_in_words():
    clips = tuple(Clip(f"{i}", Path(f"{i}.wav"), group="anna" if i % 2 else "ben") for i in range(50))
    with pytest.raises(InputError, match="group"):
        check_cohorts([Cohort("a", clips, tuple(i % 2 for i in range(50)))])


def test_random_labels_are_near_one_half_where_every_clip_has_a_group_of_its_own():
    fake = fake_audit([FakeDataset("a", 60, leak=2.0)])
    data = dataset_of("a", fake.clips.assign(group=[f"r{i}" for i in range(120)]), 0)
    features = data.matrix(attack.original(fake.scores), INDICATORS)
    null = evidence.permutation_null(
        features, data.labels, data.sample.folds, data.sample.design, 0.5, 40, 0, data.sample.strata
    )
    assert null.centre == pytest.approx(0.5, abs=0.05) and null.sd > 0.02
