"""Token statistics of one scored text, and the 30 indicators made of them.

Pure numpy: what needs the model's logits is reduced to a few numbers per token before it gets here
(`precompute.targets.base`). All logarithms are natural. Definitions are those of the method (arXiv 2603.28378);
Min-K% is Shi et al. 2024 (lowest probabilities), Min-K%++ is Zhang et al. 2024.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

PERCENTS = (5, 10, 20, 30, 40, 50, 60)
ALPHAS = ("0", "1", "2", "inf")
RENYI_PERCENTS = (0, 10, 100)
MIN_K_PP_PERCENTS = (10, 20, 100)

INDICATORS: tuple[str, ...] = (
    "nll",
    "entropy",
    "zlib_ratio",
    "prob_gap",
    *(f"min_k_{k:02d}" for k in PERCENTS),
    *(f"max_k_{k:02d}" for k in PERCENTS),
    *(f"renyi_{alpha}_k{k}" for alpha in ALPHAS for k in RENYI_PERCENTS),
)
"""The 30 indicators, in the order of the classifier's columns."""

EXTRAS: tuple[str, ...] = ("perplexity", "zlib_total", *(f"min_k_pp_{k}" for k in MIN_K_PP_PERCENTS))
"""Stored and shown beside the 30, never fed to the attack."""

LABEL_ONLY: tuple[str, ...] = ("word_error", "character_error", "length_error", "inexact")
"""What stands in for the 30 where a target gives its text and no probability (`precompute.labels`)."""

ORIENTATION: dict[str, int] = {name: 1 if name == "prob_gap" else -1 for name in (*INDICATORS, *LABEL_ONLY)}
"""Sign that makes an indicator higher for a more member-like clip; fixed beforehand, never chosen from data."""

STATISTICS: tuple[str, ...] = (
    "logprob",
    "renyi_0",
    "entropy",
    "renyi_2",
    "renyi_inf",
    "gap",
    "mean_logprob",
    "std_logprob",
)
"""Columns of numbers kept per token, in the order in which targets and the store lay them out."""

_COLUMN = {name: index for index, name in enumerate(STATISTICS)}
_RENYI_COLUMN = {"0": "renyi_0", "1": "entropy", "2": "renyi_2", "inf": "renyi_inf"}
_RENYI_WORDS = {
    "0": "effective number of candidate tokens, as a logarithm",
    "1": "Shannon entropy",
    "2": "collision entropy (Renyi entropy of order 2)",
    "inf": "min-entropy (minus the log probability of the likeliest token)",
}
_POSITION_WORDS = {
    0: "at the single position where it is largest",
    10: "averaged over the 10% of positions where it is largest",
    100: "averaged over all positions",
}

EXPLANATIONS: dict[str, str] = {
    "nll": "Average surprise of the model at each token of the text; lower means the text was more expected.",
    "entropy": "Average uncertainty of the model over its whole vocabulary before each token is written.",
    "zlib_ratio": "Average surprise per token, divided by the number of bytes the text takes when zlib compresses it.",
    "prob_gap": "Average lead in probability of the likeliest token over the second likeliest.",
    **{
        f"min_k_{k:02d}": f"Average surprise over the {k}% of tokens that the model found least probable."
        for k in PERCENTS
    },
    **{
        f"max_k_{k:02d}": f"Average surprise over the {k}% of tokens that the model found most probable."
        for k in PERCENTS
    },
    **{
        f"renyi_{alpha}_k{k}": f"The {_RENYI_WORDS[alpha]}, {_POSITION_WORDS[k]}."
        for alpha in ALPHAS
        for k in RENYI_PERCENTS
    },
    "perplexity": "The exponential of the average surprise: among how many equal choices the model seemed to waver.",
    "zlib_total": "Surprise of the whole text, divided by the number of bytes it takes when zlib compresses it.",
    **{
        f"min_k_pp_{k}": "Log probability of each token, standardised over the vocabulary at its position, "
        + ("averaged over all tokens" if k == 100 else f"averaged over the {k}% of tokens where it is lowest")
        + "; higher means more member-like."
        for k in MIN_K_PP_PERCENTS
    },
    "word_error": "Words that differ from the known text, per word of it; lower means nearer to what is known.",
    "character_error": "Characters that differ from the known text, per character of it, case and punctuation aside.",
    "length_error": "By how much the text is longer or shorter than the known one, as a share of its characters.",
    "inexact": "0 where the text is the known one word for word, 1 where it is not.",
}
"""One plain sentence for every indicator, extra and label-only indicator."""


@dataclass(frozen=True, eq=False)
class TokenStats:
    """What is kept of one scored text of one clip: a few numbers for each of its T tokens, in nats.

    Parameters
    ----------
    ids : np.ndarray [shape=(T,)], int
        Token ids, the end token included.
    tokens : tuple of str
        Readable piece of every id; joined they are the text with its special tokens.
    logprob : np.ndarray [shape=(T,)]
        Log probability of the token, in (-inf, 0].
    renyi_0 : np.ndarray [shape=(T,)]
        Log of the number of vocabulary entries at least as probable as under a uniform choice (at least 0).
    entropy, renyi_2, renyi_inf : np.ndarray [shape=(T,)]
        Renyi entropies of order 1, 2 and infinity of the next-token distribution, in [0, log V].
    gap : np.ndarray [shape=(T,)]
        Largest minus second largest probability, in [0, 1].
    mean_logprob, std_logprob : np.ndarray [shape=(T,)]
        Mean and standard deviation of log p over the vocabulary, weighted by p.
    text : str
        Decoded text without special tokens.
    """

    ids: np.ndarray
    tokens: tuple[str, ...]
    logprob: np.ndarray
    renyi_0: np.ndarray
    entropy: np.ndarray
    renyi_2: np.ndarray
    renyi_inf: np.ndarray
    gap: np.ndarray
    mean_logprob: np.ndarray
    std_logprob: np.ndarray
    text: str

    def __post_init__(self) -> None:
        """Refuse columns of different lengths."""
        lengths = {len(self.ids), len(self.tokens), *(len(getattr(self, name)) for name in STATISTICS)}
        if len(lengths) != 1:
            raise ValueError(f"token statistics of one text differ in length: {sorted(lengths)}")

    @property
    def n_tokens(self) -> int:
        """Number of scored tokens T."""
        return len(self.ids)

    @property
    def numbers(self) -> np.ndarray:
        """All statistics as one array of shape (T, 8), columns as in `STATISTICS`."""
        return np.stack([getattr(self, name) for name in STATISTICS], axis=1)

    @classmethod
    def from_numbers(cls, ids: np.ndarray, numbers: np.ndarray, tokens: tuple[str, ...], text: str) -> TokenStats:
        """Build from the table layout that `numbers` gives.

        Parameters
        ----------
        ids : np.ndarray [shape=(T,)]
        numbers : np.ndarray [shape=(T, 8)]
            Columns as in `STATISTICS`.
        tokens : tuple of str
        text : str

        Returns
        -------
        TokenStats
        """
        columns = {name: numbers[:, index] for index, name in enumerate(STATISTICS)}
        return cls(ids=ids, tokens=tokens, text=text, **columns)


def count(length: int, percent: int) -> int:
    """Return the number of tokens in `percent` of `length`, rounded down and at least one."""
    return max(1, length * percent // 100)


def indicators(stats: TokenStats) -> dict[str, float]:
    """Reduce token statistics to the 30 indicators and the extras.

    Parameters
    ----------
    stats : TokenStats

    Returns
    -------
    dict of str to float
        Keys `INDICATORS` then `EXTRAS`. Every value is NaN where there is no token, or where a statistic is not
        finite: such a text is excluded as a whole rather than half counted. A statistic that is NaN at all tokens is
        not known of this target; what is made of it is NaN, and only that.
    """
    numbers = stats.numbers.astype(np.float64)
    length = len(numbers)
    known = [not np.isnan(column).all() for column in numbers.T]
    if not length or not known[_COLUMN["logprob"]] or not np.isfinite(numbers[:, known]).all():
        return dict.fromkeys((*INDICATORS, *EXTRAS), float("nan"))
    means = _lowest_means(numbers)
    columns = dict(zip(STATISTICS, means.T, strict=True))
    everything = length - 1
    compressed = len(zlib.compress(stats.text.encode()))
    nll = -columns["logprob"][everything]
    values = {
        "nll": nll,
        "entropy": columns["entropy"][everything],
        "zlib_ratio": nll / compressed,
        "prob_gap": columns["gap"][everything],
    }
    highest = dict(zip(STATISTICS, -_lowest_means(-numbers).T, strict=True))
    for k in PERCENTS:
        values[f"min_k_{k:02d}"] = -columns["logprob"][count(length, k) - 1]
        values[f"max_k_{k:02d}"] = -highest["logprob"][count(length, k) - 1]
    for alpha in ALPHAS:
        for k in RENYI_PERCENTS:
            values[f"renyi_{alpha}_k{k}"] = highest[_RENYI_COLUMN[alpha]][count(length, k) - 1]
    values["perplexity"] = np.exp(nll)
    values["zlib_total"] = nll * length / compressed
    standardised = _lowest_means(_standardised(numbers))
    for k in MIN_K_PP_PERCENTS:
        values[f"min_k_pp_{k}"] = standardised[count(length, k) - 1]
    return {name: float(values[name]) for name in (*INDICATORS, *EXTRAS)}


def _lowest_means(numbers: np.ndarray) -> np.ndarray:
    """Mean of the lowest 1, 2, ... T values of each column, shape of `numbers` [shape=(T, ...)]."""
    ordered = np.sort(numbers, axis=0)
    counts = np.arange(1, len(numbers) + 1).reshape(-1, *[1] * (numbers.ndim - 1))
    return ordered.cumsum(axis=0) / counts


def _standardised(numbers: np.ndarray) -> np.ndarray:
    """Log probability in deviations from the vocabulary's mean at the same position, shape (T,)."""
    logprob, mean, deviation = (numbers[:, _COLUMN[name]] for name in ("logprob", "mean_logprob", "std_logprob"))
    # Under a one-hot distribution the deviation is float32 noise; 1e-6 is where that noise ends.
    return (logprob - mean) / np.maximum(deviation, 1e-6)
