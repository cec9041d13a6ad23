"""From audio to scored text: protocols, batches, word error, and how token statistics are stored."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from precompute.clips import InputError
from precompute.indicators import TokenStats

if TYPE_CHECKING:
    from precompute.targets.base import Target

PROTOCOLS: dict[str, str] = {
    "single-pass": "Statistics come from the greedy pass's own logits.",
    "two-pass": "The text is decoded first, then scored by a second, teacher-forced pass, as the paper describes it.",
}
"""Ways to score generated text; they agree in ids, and in numbers up to rounding."""


def under_protocol(target: Target, protocol: str) -> Target:
    """Give a target as it writes under a protocol.

    Parameters
    ----------
    target : Target
    protocol : str
        A key of `PROTOCOLS`.

    Returns
    -------
    Target

    Raises
    ------
    InputError
        If the protocol is unknown.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"unknown protocol {protocol!r}: choose one of {', '.join(PROTOCOLS)}")
    return target if protocol == "single-pass" else TwoPass(target)


class TwoPass:
    """A target whose writing is scored by a second, teacher-forced pass.

    Parameters
    ----------
    target : Target
    """

    def __init__(self, target: Target) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def generate(self, audios: Sequence[np.ndarray], prompt: str, max_new_tokens: int) -> list[TokenStats]:
        """Decode, then score what was decoded; see `precompute.targets.base.Target.generate`."""
        wrote = self._target.generate(audios, prompt, max_new_tokens)
        return self._target.score(audios, prompt, [one.ids.tolist() for one in wrote])


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
