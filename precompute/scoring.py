"""From audio to scored text: protocols, batches, word error, and how token statistics are stored."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from precompute.clips import InputError, content_hash
from precompute.indicators import TokenStats

if TYPE_CHECKING:
    from precompute.targets.base import Target

PROTOCOLS: dict[str, str] = {
    "single-pass": "Statistics come from the greedy pass's own logits.",
    "two-pass": "The text is decoded first, then scored by a second, teacher-forced pass, as the paper describes it.",
}
"""Ways to score generated text; they agree in ids, and in numbers up to rounding."""


def length_batches(lengths: Sequence[float] | np.ndarray, size: int) -> list[np.ndarray]:
    """Group clips of similar length, so that little of a batch is padding.

    Parameters
    ----------
    lengths : sequence of float [shape=(n,)]
        Any measure of length.
    size : int
        Largest batch, at least 1.

    Returns
    -------
    list of np.ndarray of int
        Indices into `lengths`; every index once, longest first, so that a batch too large for the memory fails at
        the start of a night and not at its end. Equal lengths keep their order.

    Raises
    ------
    ValueError
        If `size` is below 1.
    """
    if size < 1:
        raise ValueError(f"a batch holds at least one clip, not {size}")
    order = np.argsort(-np.asarray(lengths, dtype=float), kind="stable")
    return [order[start : start + size] for start in range(0, len(order), size)]


def generate(
    target: Target,
    audios: Sequence[np.ndarray],
    prompt: str,
    max_new_tokens: int,
    protocol: str = "single-pass",
) -> list[TokenStats]:
    """Let a target write the text of one batch of clips, greedily, and score what it wrote.

    Identical audio (silence of one length, say) is decoded once.

    Parameters
    ----------
    target : Target
    audios : sequence of np.ndarray [shape=(n_samples,)]
        16 kHz mono float32.
    prompt : str
    max_new_tokens : int
    protocol : str
        A key of `PROTOCOLS`.

    Returns
    -------
    list of TokenStats
        One per clip, in order.

    Raises
    ------
    InputError
        If the protocol is unknown.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"unknown protocol {protocol!r}: choose one of {', '.join(PROTOCOLS)}")
    first, inverse = _distinct([content_hash(audio) for audio in audios])
    distinct = [audios[index] for index in first]
    stats = target.generate(distinct, prompt, max_new_tokens)
    if protocol == "two-pass":
        stats = target.score(distinct, prompt, [one.ids.tolist() for one in stats])
    return [stats[index] for index in inverse]


def score(
    target: Target, audios: Sequence[np.ndarray], prompt: str, token_ids: Sequence[Sequence[int]]
) -> list[TokenStats]:
    """Score given token ids under one batch of clips (carried and reference texts).

    Identical pairs of audio and ids are scored once.

    Parameters
    ----------
    target : Target
    audios : sequence of np.ndarray [shape=(n_samples,)]
        16 kHz mono float32.
    prompt : str
    token_ids : sequence of sequences of int
        One per clip; an empty one gives statistics of no token.

    Returns
    -------
    list of TokenStats
        One per clip, in order.
    """
    texts = [tuple(int(token) for token in ids) for ids in token_ids]
    first, inverse = _distinct([(content_hash(audio), ids) for audio, ids in zip(audios, texts, strict=True)])
    stats = target.score([audios[index] for index in first], prompt, [texts[index] for index in first])
    return [stats[index] for index in inverse]


def _distinct(keys: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """Positions of the first of each distinct key, and for every key the number of its distinct value."""
    numbers: dict[Hashable, int] = {}
    inverse = [numbers.setdefault(key, len(numbers)) for key in keys]
    first = [inverse.index(number) for number in range(len(numbers))]
    return first, inverse


def normalise(text: str) -> str:
    """Fold a transcript to what word error compares: case, punctuation and spacing do not count.

    Apostrophes vanish (``don't`` is one word), every other mark becomes a space (``twenty-one`` is two).

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        Words separated by single spaces.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(
        "" if character in "'’‘`´" else " " if unicodedata.category(character)[0] in "PS" else character
        for character in folded
    )
    return " ".join(kept.split())


def wer(reference: str | None, hypothesis: str) -> float:
    """Word error rate of a text the target wrote.

    Parameters
    ----------
    reference : str or None
        Known transcript.
    hypothesis : str
        What the target wrote.

    Returns
    -------
    float
        Edits per reference word, at least 0 and above 1 where much was inserted; NaN without a reference word.
    """
    import jiwer

    words = normalise(reference or "")
    return float(jiwer.wer(words, normalise(hypothesis))) if words else float("nan")


def stats_to_arrays(stats: TokenStats) -> dict[str, np.ndarray | str]:
    """Lay token statistics out for the store: two arrays and two strings.

    Parameters
    ----------
    stats : TokenStats

    Returns
    -------
    dict
        ``ids`` int32 (T,), ``numbers`` float32 (T, 8), ``tokens`` a JSON list, ``text``. Pieces travel as JSON, since
        numpy strings drop trailing NUL characters.
    """
    return {
        "ids": stats.ids.astype(np.int32),
        "numbers": stats.numbers.astype(np.float32),
        "tokens": json.dumps(stats.tokens, ensure_ascii=False),
        "text": stats.text,
    }


def stats_from_arrays(arrays: Mapping[str, Any]) -> TokenStats:
    """Restore what `stats_to_arrays` laid out.

    Parameters
    ----------
    arrays : mapping

    Returns
    -------
    TokenStats

    Raises
    ------
    ValueError
        If the parts do not belong together.
    """
    return TokenStats.from_numbers(
        ids=arrays["ids"],
        numbers=arrays["numbers"],
        tokens=tuple(json.loads(str(arrays["tokens"]))),
        text=str(arrays["text"]),
    )
