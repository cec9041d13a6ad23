"""Reweighted classes are alike in what reaches the model, and what differs beyond it stays."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr, ndtri
from sklearn.metrics import roc_auc_score

from precompute.adjustment import (
    CALIPER,
    CLIPPED,
    COMPONENTS,
    Covariates,
    boosted_check,
    covariates,
    matched_pairs,
    overlap_lost,
    overlap_weights,
    propensity,
    refitted_chances,
    squares_check,
    standardised_differences,
)
from precompute.attack import assign_folds
from precompute.statistics.delong import weighted_auc
from precompute.statistics.logistic import expit
from precompute.statistics.trained import effective_size


def toy(
    n: int = 400, shift: float = 1.5, leak: float = 0.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, covariates, a score that follows the first covariate and the leak, and the true propensity.

    The score's own noise has deviation 1, so that given the covariate its AUC is Phi(leak / sqrt 2).
    """
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 6))
    chance = expit(shift * x[:, 0])
    labels = (rng.random(n) < chance).astype(int)
    return labels, x, x[:, 0] + leak * labels + rng.standard_normal(n), chance


def folds_of(labels: np.ndarray) -> np.ndarray:
    return assign_folds([f"{i:05d}" for i in range(len(labels))], labels)


BLOCKS = (2, 2, 2)


def test_overlap_weights_are_the_chance_of_the_other_class():
    # Li, Morgan and Zaslavsky (2018): 1 - e for members, e for non-members.
    np.testing.assert_allclose(overlap_weights(np.array([1, 0]), np.array([0.8, 0.8])), [0.2, 0.8])


def test_true_overlap_weights_make_a_pure_shift_vanish():
    labels, x, score, chance = toy(20_000)
    weights = overlap_weights(labels, chance)
    assert roc_auc_score(labels, score) > 0.7
    assert weighted_auc(labels, score, weights) == pytest.approx(0.5, abs=0.015)
    assert np.abs(standardised_differences(x, labels, weights)).max() < 0.05


def test_the_fitted_propensity_finds_the_truth_and_removes_a_pure_shift():
    labels, x, score, chance = toy(3000)
    fitted = propensity(Covariates(x, BLOCKS), labels, folds_of(labels))
    assert np.corrcoef(fitted.chance, chance)[0, 1] > 0.98
    assert weighted_auc(labels, score, fitted.weights) == pytest.approx(0.5, abs=0.03)
    np.testing.assert_allclose(fitted.weights, overlap_weights(labels, fitted.chance))


def test_a_leak_beyond_the_shift_comes_out_as_under_the_truth_reweighted_by_e_times_1_minus_e():
    """The population the weights answer for: (x, x') drawn from f(x) e(1 - e), members there raised by the leak."""
    leak = np.sqrt(2) * ndtri(0.65)
    labels, x, score, _ = toy(4000, leak=leak)
    fitted = propensity(Covariates(x, BLOCKS), labels, folds_of(labels))
    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((2, 2000))
    w = (expit(1.5 * first) * expit(-1.5 * first))[:, None] * (expit(1.5 * second) * expit(-1.5 * second))
    won = ndtr((first[:, None] + leak - second) / np.sqrt(2))
    truth = float((w * won).sum() / w.sum())
    assert 0.55 < truth < 0.65
    assert weighted_auc(labels, score, fitted.weights) == pytest.approx(truth, abs=0.03)


def test_each_chance_comes_from_a_model_that_did_not_see_the_clips_fold():
    labels, x, _, _ = toy(200)
    folds = folds_of(labels)
    held = folds == 3
    found, again = (
        propensity(Covariates(x, (6, 0, 0)), y, folds) for y in (labels, np.where(held, 1 - labels, labels))
    )
    assert np.array_equal(found.ridge, again.ridge)
    np.testing.assert_array_equal(again.chance[held], found.chance[held])
    assert not np.allclose(again.chance[~held], found.chance[~held], atol=1e-3)


def test_blocks_that_say_nothing_are_not_given_the_lightest_penalty():
    labels, x, _, _ = toy(1500)
    noise = np.random.default_rng(5).standard_normal((1500, 20))
    fitted = propensity(Covariates(np.hstack([x[:, :1], noise]), (1, 10, 10)), labels, folds_of(labels))
    assert fitted.ridge[0] == 1.0 and min(fitted.ridge[1:]) > 10.0


def test_chances_stay_away_from_0_and_1_so_that_no_weight_is_0():
    labels = np.repeat([1, 0], 60)
    x = np.column_stack([labels * 10.0, np.zeros(120)])
    fitted = propensity(Covariates(x, (2, 0, 0)), labels, folds_of(labels))
    assert fitted.chance.min() >= CLIPPED and fitted.chance.max() <= 1 - CLIPPED
    assert (fitted.weights > 0).all()


def test_refitting_under_the_same_labels_gives_the_same_chances():
    labels, x, _, _ = toy(300)
    folds = folds_of(labels)
    fitted = propensity(Covariates(x, BLOCKS), labels, folds)
    again = refitted_chances(fitted, np.column_stack([labels, 1 - labels]).astype(float), folds)
    np.testing.assert_allclose(again[:, 0], fitted.chance, atol=1e-3)
    np.testing.assert_allclose(again[:, 1], 1 - fitted.chance, atol=1e-3)


@pytest.mark.parametrize(("weights", "size"), [([1, 1, 1, 1], 4.0), ([1, 0, 0, 0], 1.0), ([3, 1], 1.6), ([0, 0], 0.0)])
def test_the_effective_size_is_kishs(weights, size):
    assert effective_size(np.array(weights, dtype=float)) == pytest.approx(size)


@pytest.mark.parametrize(
    ("effective", "n", "lost"),
    [
        (99, 1000, True),
        (100, 1000, False),
        (199, 2000, True),
        (200, 2000, False),
        (60, 100, False),  # a small class, most of it left
        (49, 100, True),
        (1, 8, True),
    ],
)
def test_overlap_is_lost_under_a_hundred_effective_clips_or_a_tenth_of_the_class(effective, n, lost):
    assert overlap_lost(effective, n) is lost


def table_of(n: int, seed: int = 0, **more: np.ndarray) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    sound = {f"acoustic.f{i}": rng.standard_normal(n) for i in range(40)}
    return pd.DataFrame(
        {"metadata.duration_s": rng.uniform(1, 9, n), "metadata.word_count": np.arange(n), **sound, **more}
    )


def test_covariates_are_length_sound_and_wording_and_file_properties_take_no_part():
    texts = [f"{'good' if i % 2 else 'bad'} {'day' if i % 3 else 'night'} number{i}" for i in range(60)]
    plain = covariates(table_of(60), texts)
    other = covariates(table_of(60, **{"metadata.file_size": np.arange(60.0), "metadata.bit_rate": np.ones(60)}), texts)
    np.testing.assert_array_equal(plain.values, other.values)
    assert plain.blocks[:2] == (4, COMPONENTS) and plain.values.shape == (60, sum(plain.blocks))
    np.testing.assert_allclose(plain.values[:, 0], np.log1p(table_of(60)["metadata.duration_s"]))
    assert np.isfinite(plain.values).all() and plain.blocks[2] > 0


def test_clips_without_text_have_no_wording_and_do_not_fail():
    found = covariates(table_of(30), [None] * 30)
    assert found.blocks[2] == 0


def test_up_to_twenty_speakers_get_a_column_each_and_more_get_none():
    few = covariates(table_of(60), [None] * 60, [f"s{i % 5}" for i in range(60)])
    assert few.blocks[2] == 5 and set(np.unique(few.values[:, -5:])) == {0.0, 1.0}
    assert covariates(table_of(60), [None] * 60, [f"s{i % 30}" for i in range(60)]).blocks[2] == 0
    assert covariates(table_of(60), [None] * 60, [None, float("nan")] * 30).blocks[2] == 0
    assert covariates(table_of(60), [None] * 60, ["one speaker"] * 60).blocks[2] == 0


@pytest.mark.parametrize("check", [boosted_check, squares_check])
def test_the_check_finds_a_shift_that_no_line_sees_and_nothing_where_there_is_nothing(check):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 3))
    shifted = (rng.random(500) < expit(2 * (x[:, 0] ** 2 - 1))).astype(float)
    drawn = rng.permutation(np.arange(500) % 2).astype(float)
    labels = np.column_stack([shifted, drawn])
    found = check(x, labels, np.ones_like(labels), folds_of(shifted.astype(int)))
    assert roc_auc_score(shifted, found[:, 0]) > 0.75
    assert roc_auc_score(drawn, found[:, 1]) == pytest.approx(0.5, abs=0.08)


def test_the_check_is_out_of_fold():
    rng = np.random.default_rng(1)
    x, labels = rng.standard_normal((200, 4)), rng.permutation(np.arange(200) % 2)
    folds = folds_of(labels)
    found = boosted_check(x, labels[:, None].astype(float), np.ones((200, 1)), folds)
    flipped = np.where(folds == 2, 1 - labels, labels)
    again = boosted_check(x, flipped[:, None].astype(float), np.ones((200, 1)), folds)
    np.testing.assert_array_equal(again[folds == 2], found[folds == 2])


def test_a_standardised_difference_worked_by_hand():
    matrix = np.array([[1.0, 7.0], [3.0, 7.0], [0.0, 7.0], [2.0, 7.0]])
    labels = np.array([1, 1, 0, 0])
    # Means 2 and 1, both variances 1; a column that does not vary gives 0.
    np.testing.assert_allclose(standardised_differences(matrix, labels, np.ones(4)), [1.0, 0.0])
    # All weight on the member at 1 and the non-member at 2.
    np.testing.assert_allclose(standardised_differences(matrix, labels, np.array([1, 0, 0, 1.0])), [-1.0, 0.0])


def test_pairs_are_one_to_one_across_classes_close_in_propensity_and_nearest_first():
    labels, x, _, _ = toy(240)
    fitted = propensity(Covariates(x, BLOCKS), labels, folds_of(labels))
    pairs = matched_pairs(fitted, labels)
    members, others, distances = zip(*pairs, strict=True)
    assert len(pairs) > 30 and len(set(members)) == len(pairs) == len(set(others))
    assert (labels[list(members)] == 1).all() and (labels[list(others)] == 0).all()
    assert list(distances) == sorted(distances)
    logit = np.log(fitted.chance / (1 - fitted.chance))
    assert (np.abs(logit[list(members)] - logit[list(others)]) <= CALIPER * logit.std() + 1e-12).all()
    assert np.mean(distances) < 0.8 * np.mean(
        [
            np.sqrt(((x[i] - x[j]) ** 2).mean())
            for i in np.flatnonzero(labels)[:40]
            for j in np.flatnonzero(1 - labels)[:40]
        ]
    )
    assert len(matched_pairs(fitted, labels, most=5)) == 5


def test_classes_with_nothing_in_common_give_no_pair():
    labels = np.repeat([1, 0], 30)
    fitted = propensity(Covariates(np.column_stack([labels * 10.0]), (1, 0, 0)), labels, folds_of(labels))
    assert matched_pairs(fitted, labels) == []
