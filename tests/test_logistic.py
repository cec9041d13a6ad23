"""Many ridge logistic regressions at once are the ones scikit-learn fits one by one."""

import tracemalloc

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from precompute import attack
from precompute.statistics import logistic
from precompute.statistics import rows as parts
from precompute.statistics.logistic import (
    balanced,
    fit_draws,
    fold_rows,
    out_of_fold_draws,
    standardised,
    weighted_aucs,
    with_ones,
)
from precompute.statistics.roc import auc


def drawn(n: int = 150, f: int = 6, draws: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standardised features, label vectors of unequal class shares that depend on them, and weights."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, f)) @ (np.eye(f) + 0.4)
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    slopes = rng.standard_normal((f, draws))
    labels = (rng.random((n, draws)) < logistic.expit(rows @ slopes - 0.7)).astype(float)
    return rows, labels, rng.uniform(0.05, 1.0, (n, draws))


def by_scikit_learn(rows: np.ndarray, y: np.ndarray, w: np.ndarray, ridge: float = 1.0) -> np.ndarray:
    model = LogisticRegression(C=1 / ridge, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    model.fit(rows, y, sample_weight=w)
    return np.r_[model.coef_[0], model.intercept_]


@pytest.fixture
def exact(monkeypatch):
    """Fit until nothing moves, to compare coefficients."""
    monkeypatch.setattr(logistic, "TOLERANCE", 1e-10)


def test_classes_are_balanced_as_scikit_learn_does():
    _, labels, _ = drawn()
    ones = np.ones_like(labels)
    weights = balanced(labels, ones)
    for y, w in zip(labels.T, weights.T, strict=True):
        # n / (2 n_class)
        np.testing.assert_allclose(w, np.where(y == 1, len(y) / (2 * y.sum()), len(y) / (2 * (1 - y).sum())))
    np.testing.assert_allclose(weights.sum(axis=0), len(labels))
    assert np.isfinite(balanced(np.ones((4, 1)), np.ones((4, 1)))).all()


@pytest.mark.parametrize("ridge", [0.01, 1.0, 100.0])
def test_every_draw_has_scikit_learns_coefficients(exact, ridge):
    rows, labels, weights = drawn()
    found = fit_draws(with_ones(rows), labels, weights, ridge)
    for draw in range(labels.shape[1]):
        wanted = by_scikit_learn(rows, labels[:, draw], weights[:, draw], ridge)
        np.testing.assert_allclose(found[:, draw], wanted, atol=1e-5)


def test_at_the_tolerance_used_coefficients_are_good_to_three_thousandths():
    rows, labels, weights = drawn()
    weights = balanced(labels, weights)
    found = fit_draws(with_ones(rows), labels, weights)
    for draw in range(labels.shape[1]):
        wanted = by_scikit_learn(rows, labels[:, draw], weights[:, draw])
        np.testing.assert_allclose(found[:, draw], wanted, atol=3e-3)


def test_equal_class_weights_are_scikit_learns(exact):
    rows, labels, _ = drawn()
    found = fit_draws(with_ones(rows), labels, balanced(labels, np.ones_like(labels)))[:, 0]
    model = LogisticRegression(class_weight="balanced", solver="newton-cholesky", tol=1e-12).fit(rows, labels[:, 0])
    np.testing.assert_allclose(found, np.r_[model.coef_[0], model.intercept_], atol=1e-5)


def test_a_penalty_per_feature_is_a_rescaling_of_the_features(exact):
    rows, labels, weights = drawn()
    ridge = np.array([0.1, 1.0, 1.0, 10.0, 1e5, 3.0])
    found = fit_draws(with_ones(rows), labels, weights, ridge)
    for draw in range(labels.shape[1]):
        wanted = by_scikit_learn(rows / np.sqrt(ridge), labels[:, draw], weights[:, draw])
        np.testing.assert_allclose(found[:-1, draw], wanted[:-1] / np.sqrt(ridge), atol=1e-5)
        assert found[-1, draw] == pytest.approx(wanted[-1], abs=1e-5)
    assert np.abs(found[4]).max() < 1e-2  # 1e5 all but drops a feature


def test_where_a_fit_begins_does_not_move_where_it_ends(exact):
    rows, labels, weights = drawn()
    plain = fit_draws(with_ones(rows), labels, weights)
    near = fit_draws(with_ones(rows), labels, weights, start=plain[:, :1])
    far = fit_draws(with_ones(rows), labels, weights, start=np.full((7, 5), 8.0))
    np.testing.assert_allclose(near, plain, atol=1e-7)
    np.testing.assert_allclose(far, plain, atol=1e-7)


def test_draws_of_very_different_curvature_are_each_fitted(exact):
    """The shared curvature suits none of these; the ones that do not settle are finished alone."""
    rows, labels, _ = drawn(draws=3)
    labels[:, 0] = rows[:, 0] > 0  # separable
    labels[:, 1] = 0.0
    labels[:2, 1] = 1.0  # two members
    weights = np.column_stack([np.full(150, 50.0), np.full(150, 1.0), np.full(150, 0.02)])
    found = fit_draws(with_ones(rows), labels, weights)
    for draw in range(3):
        wanted = by_scikit_learn(rows, labels[:, draw], weights[:, draw])
        np.testing.assert_allclose(found[:, draw], wanted, atol=1e-4)


def test_separable_labels_and_a_lone_class_end_with_finite_coefficients():
    rows, labels, weights = drawn(draws=2)
    labels[:, 0] = rows[:, 0] > 0
    labels[:, 1] = 1.0
    found = fit_draws(with_ones(rows), labels, 100 * weights, ridge=1e-3)
    assert np.isfinite(found).all()
    assert auc(labels[:, 0], rows @ found[:-1, 0]) > 0.999
    assert found[-1, 1] > 5  # all members: the chance goes to 1


def test_no_draw_is_no_fit():
    rows, labels, weights = drawn()
    assert fit_draws(with_ones(rows), labels[:, :0], weights[:, :0]).shape == (7, 0)


def test_expit_never_overflows():
    np.testing.assert_allclose(logistic.expit(np.array([-1e4, 0.0, 1e4])), [0.0, 0.5, 1.0])
    assert logistic.expit(np.array(1.3)) == pytest.approx(1 / (1 + np.exp(-1.3)))


def test_rows_are_standardised_by_the_training_rows_and_rounding_is_no_feature():
    rng = np.random.default_rng(0)
    features = np.column_stack(
        [rng.standard_normal(40) * 3 + 5, np.full(40, 0.1), 1e3 + 1e-5 * rng.standard_normal(40)]
    )
    training = np.arange(40) < 30
    features[35, 1] = 9.0  # varies, but not among the training rows
    known, others = fold_rows(features, training)
    np.testing.assert_allclose(known[:, 0].mean(), 0.0, atol=1e-12)
    np.testing.assert_allclose(known[:, 0].std(), 1.0)
    by_hand = (features[30:, 0] - features[:30, 0].mean()) / features[:30, 0].std()
    np.testing.assert_allclose(others[:, 0], by_hand)
    for rows in (known, others):
        assert (rows[:, 1:3] == 0.0).all() and (rows[:, 3] == 1.0).all()
    np.testing.assert_array_equal(standardised(features[:30]), known[:, :3])


def test_a_curvature_in_parts_is_that_of_all_rows(exact, monkeypatch):
    rows, labels, weights = drawn()
    whole = fit_draws(with_ones(rows), labels, weights)
    monkeypatch.setattr(parts, "ROWS_AT_ONCE", 64)
    np.testing.assert_allclose(fit_draws(with_ones(rows), labels, weights), whole, atol=1e-9)


@pytest.mark.parametrize(("n", "width"), [(10_000, 1), (10_000, 100), (3, 10**6), (0, 5), (4097, 0)])
def test_rows_are_split_by_their_width_and_none_is_lost(n, width):
    found = [range(n)[part] for part in parts.row_parts(n, width)]
    assert [row for part in found for row in part] == list(range(n))
    for part in found:
        assert len(part) == 1 or (len(part) <= parts.ROWS_AT_ONCE and len(part) * width <= parts.NUMBERS_AT_ONCE)


def folds_of(n: int) -> np.ndarray:
    return np.random.default_rng(9).permutation(np.arange(n) % 10)


def test_out_of_fold_scores_are_those_of_the_attack():
    rng = np.random.default_rng(1)
    labels = (rng.random((200, 3)) < 0.4).astype(int)
    features = rng.standard_normal((200, 30)) * rng.uniform(0.1, 50, 30) + 0.3 * labels[:, :1]
    folds = folds_of(200)
    found = out_of_fold_draws(features, labels.astype(float), np.ones((200, 1)), folds)
    for draw in range(3):
        models = attack.fit_folds(features, labels[:, draw], folds)
        wanted = attack.apply_folds(models, features, folds)
        np.testing.assert_allclose(found[:, draw], wanted, atol=1e-3)


def test_a_start_per_fold_changes_nothing_but_the_time():
    rng = np.random.default_rng(2)
    labels = (rng.random((120, 2)) < 0.5).astype(float)
    features, folds = rng.standard_normal((120, 4)), folds_of(120)
    starts = [np.full((5, 1), 0.2)] * 10
    ones = np.ones((120, 1))
    np.testing.assert_allclose(
        out_of_fold_draws(features, labels, ones, folds, start=starts),
        out_of_fold_draws(features, labels, ones, folds),
        atol=1e-3,
    )


def test_the_rows_of_one_fold_are_gone_before_those_of_the_next_are_made():
    rng = np.random.default_rng(3)
    features = rng.standard_normal((30_000, 40)).astype(np.float32)
    labels, ones, folds = (rng.random((30_000, 1)) < 0.5).astype(float), np.ones((30_000, 1)), folds_of(30_000)
    with_ones_bytes = 30_000 * 41 * 8
    tracemalloc.start()
    try:
        out_of_fold_draws(features, labels, ones, folds)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert with_ones_bytes < peak < 1.6 * with_ones_bytes


@pytest.mark.parametrize("sizes", [(224, 224), (47, 53)])
def test_constant_features_score_every_clip_alike(sizes):
    labels = np.repeat([1.0, 0.0], sizes)
    features = np.full((len(labels), 30), 0.1)
    found = out_of_fold_draws(features, labels[:, None], np.ones((len(labels), 1)), folds_of(len(labels)))
    assert np.ptp(found) == 0.0 and weighted_aucs(labels[:, None], found, np.ones_like(found))[0] == 0.5


def test_a_fold_that_cannot_be_trained_scores_its_clips_0():
    labels = np.array([1.0, 1.0, 0.0, 0.0])[:, None]
    folds = np.array([0, 0, 1, 1])
    assert (out_of_fold_draws(np.arange(4.0)[:, None], labels, np.ones((4, 1)), folds) == 0.0).all()


@pytest.mark.parametrize("levels", [None, 1, 3])
def test_weighted_aucs_are_scikit_learns_with_ties(levels):
    rng = np.random.default_rng(3)
    labels = (rng.random((80, 6)) < 0.4).astype(float)
    scores = np.round(rng.standard_normal((80, 6)) + labels, 9 if levels is None else 0)
    if levels == 1:
        scores[:] = 0.25
    weights = rng.uniform(0, 1, (80, 6))
    weights[:5] = 0.0
    found = weighted_aucs(labels, scores, weights)
    wanted = [roc_auc_score(labels[:, i], scores[:, i], sample_weight=weights[:, i]) for i in range(6)]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_weights_may_be_shared_by_all_draws():
    rng = np.random.default_rng(4)
    labels = (rng.random((50, 3)) < 0.5).astype(float)
    scores, weights = rng.standard_normal((50, 3)).round(1), rng.uniform(size=(50, 1))
    np.testing.assert_array_equal(
        weighted_aucs(labels, scores, weights), weighted_aucs(labels, scores, np.repeat(weights, 3, axis=1))
    )


def test_aucs_of_a_few_draws_at_a_time_are_the_same(monkeypatch):
    rng = np.random.default_rng(6)
    labels = (rng.random((50, 9)) < 0.5).astype(float)
    scores, weights = rng.standard_normal((50, 9)).round(1), rng.uniform(size=(50, 9))
    whole = weighted_aucs(labels, scores, weights)
    for numbers in (1, 2 * 50, 4 * 50):
        monkeypatch.setattr(logistic, "NUMBERS", numbers)
        np.testing.assert_allclose(weighted_aucs(labels, scores, weights), whole, rtol=1e-13)


def test_a_class_without_weight_has_no_auc():
    labels = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    found = weighted_aucs(labels, np.arange(6.0).reshape(3, 2), np.ones((3, 1)))
    assert np.isnan(found[0]) and found[1] == 0.0


TIES = "ties are settled by adding 1e-10: smaller differences become ties, and beside large scores it is lost"


@pytest.mark.parametrize(
    "scale",
    [1.0, 1e-12, 1e8],
)
def test_the_scale_of_a_given_score_does_not_move_its_auc(scale):
    rng = np.random.default_rng(5)
    labels = np.repeat([1.0, 0.0], 40)[:, None]
    scores = np.round(rng.standard_normal((80, 1)) + labels)
    wanted = roc_auc_score(labels[:, 0], scores[:, 0])
    assert weighted_aucs(labels, scale * scores, np.ones((80, 1)))[0] == pytest.approx(wanted, abs=1e-12)
