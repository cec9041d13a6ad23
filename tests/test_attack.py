"""Out-of-fold membership scores: no fold sees its own clips, and nothing but the clips decides."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from precompute.attack import (
    LinearModel,
    apply_folds,
    assign_folds,
    dataset_folds,
    fit_folds,
    fit_linear,
    fold_models,
    heatmap,
    membership_scores,
    original,
)
from precompute.indicators import INDICATORS
from precompute.statistics.roc import auc
from tests.fake_scores import FakeDataset, fake_clips, fake_scores

COLUMNS = list(INDICATORS)


def scored(n: int = 40, leak: float = 1.5, **changes) -> pd.DataFrame:
    return fake_scores(fake_clips(FakeDataset("a", n)), leak=leak, **changes)


def folds_of(scores: pd.DataFrame) -> dict[str, pd.Series]:
    return {"a": dataset_folds(scores)}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    scores = scored()
    return membership_scores(scores, folds_of(scores))


def test_folds_are_stratified_and_level():
    labels = np.repeat([1, 0], [43, 58])
    folds = assign_folds([f"c{i}" for i in range(101)], labels)
    for label in (1, 0):
        counts = np.bincount(folds[labels == label], minlength=10)
        assert counts.max() - counts.min() <= 1
    assert np.ptp(np.bincount(folds)) <= 1


def test_folds_depend_on_the_clips_and_the_seed_not_on_the_order_of_rows():
    ids, labels = np.array([f"c{i}" for i in range(60)]), np.repeat([1, 0], 30)
    order = np.random.default_rng(0).permutation(60)
    folds = assign_folds(ids, labels)
    np.testing.assert_array_equal(assign_folds(ids[order], labels[order]), folds[order])
    assert (assign_folds(ids, labels, seed=1) != folds).any()


def test_small_classes_get_fewer_folds_and_tiny_ones_none():
    assert assign_folds(list("abcdefg"), [1, 1, 1, 0, 0, 0, 0]).max() == 2
    with pytest.raises(ValueError, match="two clips"):
        assign_folds(list("abc"), [1, 0, 0])
    with pytest.raises(ValueError, match="twice"):
        assign_folds(list("aabb"), [1, 1, 0, 0])


def units_of(kinds: str, size: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Labels and units of `size` clips: m a unit of members, n of non-members, b of both."""
    labels = [[1] * size, [0] * size, [i % 2 for i in range(size)]]
    return np.concatenate([labels["mnb".index(kind)] for kind in kinds]), np.repeat(np.arange(len(kinds)), size)


@pytest.mark.parametrize("kinds", ["m" * 23 + "n" * 14, "b" * 31, "m" * 12 + "n" * 25 + "b" * 7])
def test_no_unit_is_in_two_folds_and_units_of_each_kind_are_dealt_evenly(kinds):
    labels, units = units_of(kinds)
    folds = assign_folds([f"c{i:03d}" for i in range(len(labels))], labels, units=units)
    assert all(len(np.unique(folds[units == unit])) == 1 for unit in np.unique(units))
    of_unit = folds[np.unique(units, return_index=True)[1]]
    assert of_unit.max() == 9
    for kind in set(kinds):
        counts = np.bincount(of_unit[np.array(list(kinds)) == kind], minlength=10)
        assert counts.max() - counts.min() <= 1
    assert all(set(labels[folds != fold]) == {0, 1} for fold in range(10))


def test_folds_of_units_depend_on_neither_the_order_of_rows_nor_the_names_of_units():
    labels, units = units_of("m" * 12 + "n" * 15 + "b" * 3)
    ids = np.array([f"c{i:03d}" for i in range(len(labels))])
    folds = assign_folds(ids, labels, units=units)
    rng = np.random.default_rng(0)
    order, names = rng.permutation(len(ids)), rng.permutation(100)
    np.testing.assert_array_equal(assign_folds(ids[order], labels[order], units=names[units][order]), folds[order])


def test_large_units_of_a_class_are_spread_over_the_folds():
    labels, units = units_of("m" * 20 + "n" * 20, 2)
    large = np.repeat([0, 1, 2, 3], 10)
    labels, units = np.r_[labels, np.ones(40, dtype=int)], np.r_[units, large]
    folds = assign_folds([f"c{i:03d}" for i in range(len(labels))], labels, units=units)
    assert len(np.unique(folds[np.isin(units, large)])) == 4


def test_units_limit_the_number_of_folds_and_one_unit_of_a_class_is_refused():
    labels, units = units_of("mmmnnnnn")
    assert assign_folds([f"c{i}" for i in range(len(labels))], labels, units=units).max() == 2
    labels, units = units_of("mnnnnn")
    with pytest.raises(ValueError, match="not of one group"):
        assign_folds([f"c{i}" for i in range(len(labels))], labels, units=units)


def test_copies_of_a_wording_share_a_fold():
    clips = fake_clips(FakeDataset("a", 40))
    clips.loc[[0, 50], "text"] = ["Hear your key, please.", "hear YOUR key please"]
    folds = dataset_folds(clips)
    assert folds["a/0000"] == folds["a/0050"]


def test_the_linear_model_is_scikit_learns_standardised_logistic_regression():
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 0], [30, 70])
    features = rng.standard_normal((100, 4)) * [1, 10, 0.1, 3] + labels[:, None]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", tol=1e-10, max_iter=1000))
    wanted = pipeline.fit(features, labels).decision_function(features)
    np.testing.assert_allclose(fit_linear(features, labels).logit(features), wanted - wanted.mean(), atol=1e-3)


def test_a_model_survives_being_written_as_numbers():
    labels = np.repeat([1, 0], 20)
    features = np.random.default_rng(0).standard_normal((40, 3))
    model = fit_linear(features, labels)
    again = LinearModel.from_numbers({**model.as_numbers(), "heldout": {}})
    np.testing.assert_array_equal(again.logit(features), model.logit(features))


@pytest.mark.parametrize("sizes", [(224, 224), (47, 53), (20, 91)])
def test_constant_features_give_a_pooled_auc_of_exactly_one_half(sizes):
    labels = np.repeat([1, 0], sizes)
    folds = assign_folds([str(i) for i in range(len(labels))], labels)
    features = np.full((len(labels), 30), 0.1)
    logits = apply_folds(fit_folds(features, labels, folds), features, folds)
    assert auc(labels, logits) == 0.5


def test_rounding_noise_of_stored_numbers_is_no_signal():
    labels = np.repeat([1, 0], [47, 53])
    folds = assign_folds([str(i) for i in range(100)], labels)
    features = 2.5 + 1e-7 * np.random.default_rng(0).standard_normal((100, 30))
    logits = apply_folds(fit_folds(features, labels, folds), features, folds)
    assert auc(labels, logits) == 0.5


def test_silence_that_makes_all_clips_alike_scores_one_half_in_both_fits():
    scores = scored(n=31)
    silent = scores["condition"] == "silence"
    scores.loc[silent, COLUMNS] = np.linspace(0.3, 4.0, len(COLUMNS))
    found = membership_scores(scores, folds_of(scores))
    rows = found[silent & (scores["scored_text"] == "generated")]
    for column in ("mia_score", "mia_score_transfer"):
        assert auc(rows["label"].to_numpy(), rows[column].to_numpy()) == 0.5


def test_refit_and_transfer_agree_on_the_original_audio(table):
    rows = table[table["condition"] == "original"]
    np.testing.assert_array_equal(rows["mia_score"], rows["mia_score_transfer"])


def test_scores_are_float32_inside_zero_and_one(table):
    for column in ("mia_score", "mia_score_transfer"):
        assert table[column].dtype == np.float32
        assert table[column].between(0, 1, inclusive="neither").all()


def test_a_planted_leak_is_found_where_it_was_planted(table):
    def found(condition, text):
        rows = table[(table["condition"] == condition) & (table["scored_text"] == text) & (table["realization"] == 0)]
        return auc(rows["label"].to_numpy(), rows["mia_score"].to_numpy())

    assert found("original", "generated") > 0.75
    assert found("silence", "reference") > 0.6
    assert abs(found("silence", "carried") - 0.5) < 0.2


def test_the_transfer_score_of_a_clip_is_made_of_other_clips_originals(table):
    fold = dataset_folds(table)
    held = fold == 3
    wide = table[table["realization"] == 0].set_index("clip_id")
    base = wide[(wide["condition"] == "original") & (wide["scored_text"] == "generated")]
    swapped = wide[(wide["condition"] == "noise") & (wide["scored_text"] == "carried")]
    training, heldout = fold.index[~held], fold.index[held]
    model = fit_linear(base.loc[training, COLUMNS].to_numpy(), base.loc[training, "label"].to_numpy())
    centre = model.logit(swapped.loc[training, COLUMNS].to_numpy()).mean()
    wanted = 1 / (1 + np.exp(centre - model.logit(swapped.loc[heldout, COLUMNS].to_numpy())))
    np.testing.assert_allclose(swapped.loc[heldout, "mia_score_transfer"], wanted, atol=1e-6)


def test_a_clips_own_original_never_enters_its_transfer_score(table):
    clip = table["clip_id"].iloc[0]
    changed = table.copy()
    own = (changed["clip_id"] == clip) & (changed["condition"] == "original")
    changed.loc[own, COLUMNS] = changed.loc[own, COLUMNS].to_numpy() + 50.0
    again = membership_scores(changed, folds_of(changed))
    rows = (table["clip_id"] == clip) & (table["condition"] != "original")
    np.testing.assert_array_equal(again.loc[rows, "mia_score_transfer"], table.loc[rows, "mia_score_transfer"])
    others = (table["clip_id"] != clip) & (table["condition"] != "original")
    assert (again.loc[others, "mia_score_transfer"] != table.loc[others, "mia_score_transfer"]).any()


def test_rows_without_tokens_have_no_score_and_do_not_disturb_the_rest():
    scores = scored(n=20)
    lost = (scores["clip_id"] == "a/0003") & (scores["condition"] == "original")
    scores.loc[lost, COLUMNS] = np.nan
    found = membership_scores(scores, folds_of(scores))
    assert found.loc[lost, ["mia_score", "mia_score_transfer"]].isna().all(axis=None)
    assert found.loc[~lost, "mia_score"].notna().all()
    assert found.loc[(found["clip_id"] == "a/0003") & ~lost, "mia_score_transfer"].notna().all()


def test_scores_do_not_depend_on_the_order_of_rows(table):
    shuffled = table.drop(columns=["mia_score", "mia_score_transfer"]).sample(frac=1, random_state=0)
    keys = ["clip_id", "condition", "realization", "scored_text"]
    again = table[keys].merge(membership_scores(shuffled, folds_of(shuffled)), on=keys)
    np.testing.assert_allclose(again["mia_score"], table["mia_score"], atol=2e-6)


def test_stored_fold_models_give_the_stored_scores(table):
    models = fold_models(table, folds_of(table))["a"]["fake-target"]
    rows = original(table).set_index("clip_id")
    seen = []
    for fold in models["folds"]:
        ids = fold["heldout"]["clip_id"]
        logits = LinearModel.from_numbers(fold).logit(rows.loc[ids, models["indicators"]].to_numpy(float))
        np.testing.assert_allclose(logits, fold["heldout"]["logit"], atol=1e-8)
        np.testing.assert_allclose(1 / (1 + np.exp(-logits)), rows.loc[ids, "mia_score"], atol=1e-6)
        assert fold["heldout"]["label"] == rows.loc[ids, "label"].tolist()
        seen += ids
    assert sorted(seen) == sorted(rows.index)


def heat(*datasets: tuple[FakeDataset, float]) -> dict[tuple[str, str], dict]:
    parts = [fake_scores(fake_clips(dataset), leak=dataset.leak, shift=shift) for dataset, shift in datasets]
    return {(row["row"], row["column"]): row for row in heatmap(pd.concat(parts, ignore_index=True))}


def test_the_heatmap_finds_membership_on_and_domain_off_the_diagonal():
    cells = heat((FakeDataset("a", 40, leak=2.0), 0.0), (FakeDataset("bb", 30), 3.0))
    assert cells["a", "a"]["kind"] == "membership" and cells["a", "a"]["auc"] > 0.8
    off = cells["a", "bb"]
    assert off["kind"] == "domain" and (off["n_row"], off["n_column"]) == (40, 30)
    assert cells["bb", "a"]["auc"] == off["auc"] and cells["bb", "a"]["n_row"] == 30


def test_clips_that_two_datasets_share_are_dropped_from_their_pair():
    cells = heat((FakeDataset("a", 40, prefix="same"), 0.0), (FakeDataset("bb", 30, prefix="same"), 0.0))
    pair = cells["a", "bb"]
    assert pair["auc"] is None and "20 a side" in pair["reason"]
    assert pair["n_column"] == 0


def test_folds_that_cannot_be_trained_leave_their_clips_without_a_score():
    labels = np.array([1, 1, 0, 0])
    features = np.array([[0.0], [np.nan], [1.0], [2.0]])
    folds = np.array([0, 1, 0, 1])
    assert np.isnan(apply_folds(fit_folds(features, labels, folds), features, folds)[[0, 2]]).all()
