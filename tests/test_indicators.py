"""The 30 indicators: identities, bounds, hand-worked values and edge cases."""

import zlib
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from scipy.stats import entropy as shannon

from precompute.indicators import (
    EXPLANATIONS,
    EXTRAS,
    INDICATORS,
    LABEL_ONLY,
    MIN_K_PP_PERCENTS,
    ORIENTATION,
    PERCENTS,
    RENYI_PERCENTS,
    STATISTICS,
    TokenStats,
    count,
    indicators,
)
from precompute.targets.base import token_statistics

CLOSE = {"rel": 1e-5, "abs": 1e-5}


def stats_of(logits, ids=None, text="a text"):
    """Token statistics of (T, V) logits; greedy ids unless others are given."""
    logits = torch.as_tensor(np.asarray(logits, dtype=np.float32))
    chosen = logits.argmax(-1) if ids is None else torch.as_tensor(ids)
    numbers = token_statistics(logits, chosen).numpy()
    return TokenStats.from_numbers(chosen.numpy(), numbers, tuple("x" * len(chosen)), text)


def of_columns(text="abc", **columns):
    """Token statistics with the given columns and zeros elsewhere."""
    length = len(next(iter(columns.values())))
    numbers = np.stack([np.asarray(columns.get(name, np.zeros(length))) for name in STATISTICS], axis=1)
    return TokenStats.from_numbers(np.arange(length), numbers, ("x",) * length, text)


@pytest.fixture(params=[1, 2, 9, 37])
def logits(request):
    return np.random.default_rng(request.param).normal(0, 3, (request.param, 500))


def test_there_are_thirty_indicators_with_a_sign_and_a_sentence_each():
    assert len(INDICATORS) == len(set(INDICATORS)) == 30
    assert INDICATORS[:4] == ("nll", "entropy", "zlib_ratio", "prob_gap")
    assert INDICATORS[4:11] == tuple(f"min_k_{k}" for k in ("05", "10", "20", "30", "40", "50", "60"))
    assert INDICATORS[11:18] == tuple(f"max_k_{k}" for k in ("05", "10", "20", "30", "40", "50", "60"))
    assert set(INDICATORS[18:]) == {f"renyi_{a}_{k}" for a in ("0", "1", "2", "inf") for k in ("k0", "k10", "k100")}
    assert {name for name, sign in ORIENTATION.items() if sign == 1} == {"prob_gap"}
    assert list(ORIENTATION) == [*INDICATORS, *LABEL_ONLY]
    assert sum(ORIENTATION[name] for name in INDICATORS) == -28
    assert set(EXPLANATIONS) == {*INDICATORS, *EXTRAS, *LABEL_ONLY}
    assert all(text.endswith(".") for text in EXPLANATIONS.values())
    assert len(set(EXPLANATIONS.values())) == len(EXPLANATIONS)


def test_indicators_come_in_the_order_of_the_columns(logits):
    assert list(indicators(stats_of(logits))) == [*INDICATORS, *EXTRAS]


def test_under_greedy_decoding_three_pairs_of_indicators_coincide(logits):
    values = indicators(stats_of(logits))
    assert values["nll"] == pytest.approx(values["renyi_inf_k100"], rel=1e-12)
    assert values["min_k_10"] == pytest.approx(values["renyi_inf_k10"], rel=1e-12)
    assert values["entropy"] == pytest.approx(values["renyi_1_k100"], rel=1e-12)


def test_min_k_falls_and_max_k_rises_with_k_and_both_enclose_the_mean(logits):
    ids = np.random.default_rng(0).integers(0, 500, len(logits))
    values = indicators(stats_of(logits, ids))
    lowest = [values[f"min_k_{k:02d}"] for k in PERCENTS]
    highest = [values[f"max_k_{k:02d}"] for k in PERCENTS]
    assert all(a >= b - 1e-12 for a, b in pairwise(lowest))
    assert all(a <= b + 1e-12 for a, b in pairwise(highest))
    assert highest[-1] <= values["nll"] + 1e-12 and values["nll"] <= lowest[-1] + 1e-12


def test_renyi_entropies_fall_with_their_order_and_with_the_share_of_positions(logits):
    values = indicators(stats_of(logits))
    for k in RENYI_PERCENTS:
        assert values[f"renyi_1_k{k}"] >= values[f"renyi_2_k{k}"] >= values[f"renyi_inf_k{k}"] >= 0
        assert values[f"renyi_1_k{k}"] <= np.log(500) + 1e-5
    for alpha in ("0", "1", "2", "inf"):
        assert values[f"renyi_{alpha}_k0"] >= values[f"renyi_{alpha}_k10"] >= values[f"renyi_{alpha}_k100"]


def test_token_statistics_agree_with_scipy_in_double_precision(logits):
    ids = np.random.default_rng(1).integers(0, 500, len(logits))
    stats = stats_of(logits, ids)
    log_p = log_softmax(np.float32(logits).astype(float), axis=1)
    p = np.exp(log_p)
    mean = (p * log_p).sum(1)
    top = np.sort(p, axis=1)
    expected = {
        "logprob": log_p[np.arange(len(ids)), ids],
        "renyi_0": np.log((500 * p >= 1 - 1e-4).sum(1)),
        "entropy": shannon(p, axis=1),
        "renyi_2": -np.log((p**2).sum(1)),
        "renyi_inf": -np.log(p.max(1)),
        "gap": top[:, -1] - top[:, -2],
        "mean_logprob": mean,
        "std_logprob": np.sqrt((p * (log_p - mean[:, None]) ** 2).sum(1)),
    }
    for name, values in expected.items():
        assert getattr(stats, name) == pytest.approx(values, **CLOSE), name


def test_uniform_logits_give_every_entropy_log_v_and_no_gap():
    stats = stats_of(np.full((4, 1000), 3.7))
    for name in ("renyi_0", "entropy", "renyi_2", "renyi_inf"):
        assert getattr(stats, name) == pytest.approx(np.full(4, np.log(1000)), **CLOSE), name
    assert stats.gap == pytest.approx(np.zeros(4))
    assert stats.std_logprob == pytest.approx(np.zeros(4), abs=1e-4)
    assert indicators(stats)["nll"] == pytest.approx(np.log(1000), rel=1e-6)


@pytest.mark.parametrize("floor", [-200.0, -np.inf])
def test_one_hot_logits_give_zero_entropies_and_no_nan(floor):
    logits = np.full((3, 152_000), floor)
    logits[:, 7] = 0.0
    stats = stats_of(logits)
    for name in ("logprob", "renyi_0", "entropy", "renyi_2", "renyi_inf", "std_logprob"):
        assert np.array_equal(getattr(stats, name), np.zeros(3)), name
    assert np.array_equal(stats.gap, np.ones(3))
    values = indicators(stats)
    assert np.isfinite(list(values.values())).all()
    assert values["nll"] == 0 and values["perplexity"] == 1 and values["min_k_pp_100"] == 0


def test_adding_a_constant_to_the_logits_changes_nothing(logits):
    shifted = logits + np.linspace(-50, 50, len(logits))[:, None]
    before, after = indicators(stats_of(logits)), indicators(stats_of(shifted))
    assert list(after.values()) == pytest.approx(list(before.values()), rel=1e-4, abs=1e-4)


def test_a_tie_of_the_two_likeliest_tokens_has_no_gap():
    assert stats_of([[5.0, 5.0, 1.0]]).gap[0] == 0


def test_one_token_is_its_own_share_at_every_percentage():
    values = indicators(stats_of([[2.0, 1.0, 0.0]]))
    surprise = np.log(1 + np.exp(-1) + np.exp(-2))
    for name in ("nll", "min_k_05", "min_k_60", "max_k_05", "max_k_60", "renyi_inf_k0", "renyi_inf_k100"):
        assert values[name] == pytest.approx(surprise, **CLOSE), name
    assert values["perplexity"] == pytest.approx(1 + np.exp(-1) + np.exp(-2), **CLOSE)
    assert values["prob_gap"] == pytest.approx((1 - np.exp(-1)) / np.exp(surprise), **CLOSE)


def test_two_tokens_split_into_the_likelier_and_the_less_likely():
    values = indicators(of_columns(logprob=[-1.0, -3.0], entropy=[0.5, 0.1]))
    assert (values["min_k_50"], values["max_k_50"], values["nll"]) == (3.0, 1.0, 2.0)
    assert (values["renyi_1_k0"], values["renyi_1_k10"], values["renyi_1_k100"]) == (0.5, 0.5, pytest.approx(0.3))


def test_hand_worked_values_over_ten_tokens():
    surprise = np.arange(1.0, 11.0)[::-1]
    values = indicators(of_columns(text="hello world", logprob=-surprise, renyi_2=surprise, gap=surprise / 10))
    size = len(zlib.compress(b"hello world"))
    assert (values["nll"], values["min_k_20"], values["max_k_20"]) == (5.5, 9.5, 1.5)
    assert (values["min_k_05"], values["max_k_05"]) == (10.0, 1.0)  # 5% of 10 is no token; one is taken
    assert (values["min_k_60"], values["max_k_60"]) == (7.5, 3.5)
    assert (values["renyi_2_k0"], values["renyi_2_k10"], values["renyi_2_k100"]) == (10.0, 10.0, 5.5)
    assert values["prob_gap"] == pytest.approx(0.55)
    assert values["zlib_ratio"] == pytest.approx(5.5 / size)
    assert values["zlib_total"] == pytest.approx(55.0 / size)


def test_a_share_of_tokens_is_rounded_down_and_never_empty():
    assert [count(length, 10) for length in (1, 9, 10, 19, 20, 64)] == [1, 1, 1, 1, 2, 6]
    assert count(7, 100) == 7 and count(7, 0) == 1
    assert count(50, 58) == 29  # in floating point 50 * 0.58 is just below 29


def test_min_k_plus_plus_standardises_by_the_vocabulary_before_it_picks_the_lowest():
    stats = of_columns(logprob=[-4.0, -1.0], mean_logprob=[-3.0, -0.5], std_logprob=[2.0, 0.25])
    values = indicators(stats)
    assert MIN_K_PP_PERCENTS == (10, 20, 100)
    assert values["min_k_pp_10"] == -2.0  # the token of higher probability stands out more at its position
    assert values["min_k_pp_100"] == pytest.approx((-0.5 - 2.0) / 2)


@pytest.mark.parametrize("text", ["", "дом", "a\x00b"])
def test_any_text_has_a_compressed_length(text):
    assert indicators(of_columns(text=text, logprob=[-1.0]))["zlib_ratio"] == 1 / len(zlib.compress(text.encode()))


def test_no_token_gives_nan_everywhere():
    values = indicators(of_columns(logprob=np.zeros(0)))
    assert list(values) == [*INDICATORS, *EXTRAS] and np.isnan(list(values.values())).all()


@pytest.mark.parametrize("broken", [np.nan, -np.inf])
def test_a_statistic_that_is_not_finite_excludes_the_text_as_a_whole(broken):
    assert np.isnan(list(indicators(of_columns(logprob=[-1.0, broken])).values())).all()


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="differ in length"):
        TokenStats.from_numbers(np.arange(2), np.zeros((3, len(STATISTICS))), ("a", "b"), "ab")
