"""Every figure of results.json follows from the tables, and every verdict from its figures."""

import json

import numpy as np
import pytest
from scipy import stats

from precompute import results
from precompute.attack import dataset_folds, fold_aucs
from precompute.statistics.intervals import Estimate
from precompute.statistics.roc import auc
from precompute.verdicts import Evidence, decide
from tests.fake_scores import FakeAudit, FakeDataset, fake_audit


def at(value: float, half: float = 0.03, n: int = 500) -> Estimate:
    """An estimate with a symmetric interval."""
    ninety = half * 1.645 / 1.96
    low, high = value - half, value + half
    return Estimate(value, low, high, value - ninety, value + ninety, half / 1.96, n, n)


CLEAN = [("metadata", at(0.50)), ("text", at(0.51))]


def verdict(attack, blind=CLEAN, nll=0.9):
    return decide(Evidence("d", "t", attack, blind, [("generated", at(nll))]))


def test_blind_families_inside_the_margin_are_clean():
    assert verdict(at(0.5)).phase1 == "CLEAN"


def test_one_blind_family_clearly_above_the_margin_is_a_shift_and_not_auditable():
    found = verdict(at(0.99, 0.005), [*CLEAN, ("acoustic", at(0.60))])
    assert (found.phase1, found.verdict, found.blind_family) == ("SHIFTED", "NOT AUDITABLE", "acoustic")
    assert found.sentence.startswith("NOT AUDITABLE: t on d: attack AUC 0.99 [0.98, 0.99], 500 members")
    assert "acoustic features reach AUC 0.60 [0.57, 0.63]" in found.sentence


@pytest.mark.parametrize("value", [0.535, 0.46, 0.40])
def test_a_blind_family_that_is_neither_inside_nor_above_is_undecided(value):
    assert verdict(at(0.5), [("text", at(value))]).phase1 == "UNDECIDED"


def test_without_blind_families_phase_one_is_undecided():
    assert verdict(at(0.5), []).phase1 == "UNDECIDED"


def test_an_attack_above_chance_and_blind_with_surer_members_is_a_leak():
    found = verdict(at(0.80))
    assert found.verdict == "LEAK" and found.direction_auc == 0.9
    assert "0.80 [0.77, 0.83]" in found.sentence and "0.51 [0.48, 0.54]" in found.sentence


def test_surer_non_members_reverse_the_verdict_however_high_the_attack():
    assert verdict(at(0.97, 0.01), nll=0.1).verdict == "REVERSED"


def test_an_open_direction_is_undecided():
    assert verdict(at(0.80), nll=0.49).verdict == "UNDECIDED"
    assert decide(Evidence("d", "t", at(0.8), CLEAN, [])).verdict == "UNDECIDED"


def test_the_text_farthest_from_one_half_gives_the_direction():
    texts = [("generated", at(0.52)), ("reference", at(0.05))]
    assert decide(Evidence("d", "t", at(0.8), CLEAN, texts)).verdict == "REVERSED"


def test_an_attack_above_chance_that_blind_features_may_explain_is_undecided():
    found = verdict(at(0.56), [("text", at(0.54))])
    assert found.verdict == "UNDECIDED" and "not clearly above" in found.sentence


def test_nothing_found_says_what_could_have_been_found():
    found = verdict(at(0.5))
    # 0.5 + 2.8 * 0.03 / 1.96
    assert found.verdict == "NO LEAK SEEN" and "AUC of 0.54 or more" in found.sentence


@pytest.mark.parametrize("attack", [at(0.5, 0.03, n=99), at(0.5, 0.08, n=500)])
def test_too_few_clips_or_too_wide_an_interval_is_undecided(attack):
    assert verdict(attack).verdict == "UNDECIDED"


def test_a_dataset_that_could_not_be_scored_is_undecided():
    assert verdict(None).verdict == "UNDECIDED"


@pytest.fixture(scope="module")
def made() -> tuple[FakeAudit, dict]:
    fake = fake_audit([FakeDataset("clean", 60, leak=2.0), FakeDataset("swapped", 50, leak=-2.0)])
    lost = (fake.scores["clip_id"] == "clean/0000") & (fake.scores["condition"] == "original")
    fake.scores.loc[lost, ["mia_score", "mia_score_transfer", "nll"]] = np.nan
    models = results.build_models(fake.scores, fake.fits)
    return fake, results.build_results(fake.clips, fake.scores, fake.blind, fake.audit, models)


def row_of(table: list[dict], **wanted) -> dict:
    (row,) = [row for row in table if all(row[name] == value for name, value in wanted.items())]
    return row


def cell(fake: FakeAudit, **wanted):
    rows = fake.scores
    for name, value in wanted.items():
        rows = rows[rows[name] == value]
    return rows.dropna(subset=["mia_score"])


def test_the_tables_are_plain_and_complete(made):
    _, tables = made
    assert list(tables) == ["blind", "mia", "indicators", "correlation", "heatmap", "conditions", "verdicts"]
    assert json.loads(json.dumps(tables, allow_nan=False)) == tables
    assert len(tables["blind"]) == 2 * 5 and len(tables["correlation"]) == 2 * 5
    assert len(tables["indicators"]) == 2 * 2 * 30
    assert len(tables["mia"]) == 2 * 2 * (2 + 3 * 5)
    assert len(tables["conditions"]) == 2 * 2 * (2 + 3 * 3)
    assert all(row["method"] for name in ("blind", "mia", "conditions", "verdicts") for row in tables[name])


def test_the_aucs_are_those_of_the_stored_scores_and_exclusions_are_counted(made):
    fake, tables = made
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
    fake, tables = made
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
    fake, tables = made
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
    fake, _ = made
    scores = fake.scores[fake.scores["dataset"] == "clean"].copy()
    scores.loc[scores["condition"] == "resynthesis", "wer"] = 0.9
    found = results.build_results(fake.clips, scores, fake.blind, fake.audit)["conditions"]
    assert {row["condition"]: row["readable"] for row in found} == {
        "original": True,
        "silence": True,  # nothing to read there: judged on the original
        "noise": True,
        "resynthesis": False,
    }


def test_the_verdicts_follow_the_planted_truth_and_the_direction(made):
    _, tables = made
    clean, swapped = (row_of(tables["verdicts"], dataset=name) for name in ("clean", "swapped"))
    assert (clean["verdict"], swapped["verdict"]) == ("LEAK", "REVERSED")
    assert clean["direction_auc"] > 0.8 and swapped["direction_auc"] < 0.2
    assert clean["trained_members"] is True and clean["trained_non_members"] is False
    assert clean["truth"] == "planted leak 2.0, shift 0.0"
    assert (
        clean["auc"]
        == row_of(tables["mia"], dataset="clean", condition="original", scored_text="generated", fit="refit")["auc"]
    )


def test_the_largest_blind_weights_come_with_the_blind_aucs(made):
    fake, tables = made
    found = row_of(tables["blind"], dataset="clean", family="acoustic")
    assert found["top"] == fake.fits["clean"].top["acoustic"]
    assert found["auc_low_90"] >= found["auc_low"]


def test_results_do_not_depend_on_the_order_of_rows(made):
    fake, tables = made
    mixed = (table.sample(frac=1, random_state=1) for table in (fake.clips, fake.scores, fake.blind))
    again = results.build_results(*mixed, fake.audit, results.build_models(fake.scores, fake.fits))
    for name in ("blind", "correlation", "verdicts"):
        first, second = (
            sorted(rows, key=lambda r: (r["dataset"], r.get("family") or "")) for rows in (tables[name], again[name])
        )
        for one, other in zip(first, second, strict=True):
            numbers = {key: value for key, value in one.items() if isinstance(value, float)}
            assert {key: other[key] for key in numbers} == pytest.approx(numbers)


def test_a_shift_without_a_leak_is_not_auditable():
    fake = fake_audit([FakeDataset("shifted", 60, shift=2.0)])
    (found,) = results.build_results(fake.clips, fake.scores, fake.blind, fake.audit)["verdicts"]
    assert (found["phase1"], found["verdict"]) == ("SHIFTED", "NOT AUDITABLE")
    assert found["auc_low"] > 0.5 and found["trained_members"] is False
