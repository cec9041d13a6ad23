"""From clips and a target to the table of scores: every condition, realization and scored text, cached per clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from precompute.clips import Clip, content_hash, read_audio
from precompute.conditions import CONDITIONS, render_many
from precompute.indicators import TokenStats, indicators
from precompute.scoring import generate, stats_from_arrays, stats_to_arrays, wer
from precompute.store import Store
from precompute.targets.base import Target

PROTOCOL_VERSION = 1
"""Part of every cache key: raised when the same inputs would give other numbers."""


@dataclass(frozen=True)
class Plan:
    """What is asked of every target.

    Parameters
    ----------
    conditions : tuple of str
        Names from `CONDITIONS`; ``original`` comes first.
    prompt : str or None
        None uses the target's own default.
    max_new_tokens : int
    batch_size : int
    protocol : str
        ``single-pass`` or ``two-pass``.
    seed : int
        Of the noise.
    fixed_seconds : float
        Length of the ``*_fixed`` conditions.
    """

    conditions: tuple[str, ...]
    prompt: str | None = None
    max_new_tokens: int = 64
    batch_size: int = 16
    protocol: str = "single-pass"
    seed: int = 0
    fixed_seconds: float = 3.0

    def inputs(self) -> list[tuple[str, int]]:
        """Every (condition, realization) pair, the original first."""
        names = ["original", *(name for name in self.conditions if name != "original")]
        return [(name, index) for name in names for index in range(CONDITIONS[name].realizations)]

    def texts_per_clip(self) -> int:
        """Scored texts a clip with a transcript has: generated and reference everywhere, carried elsewhere."""
        return 3 * len(self.inputs()) - 1


def score_clips(
    target: Target, clips: Sequence[Clip], plan: Plan, store: Store, advance: Callable[[int], Any]
) -> Iterator[tuple[dict[str, Any], TokenStats]]:
    """Score clips under every condition, doing only what the store lacks.

    Parameters
    ----------
    target : Target
    clips : sequence of Clip
        Unique by clip_id.
    plan : Plan
    store : Store
    advance : callable
        Told the number of scored texts done, for a progress bar.

    Yields
    ------
    tuple of (dict, TokenStats)
        A row of ``scores.parquet`` without dataset and label, and the token statistics behind it.
    """
    import soundfile

    lengths = [(clip.end or soundfile.info(clip.path).duration) - (clip.start or 0.0) for clip in clips]
    order = np.argsort(lengths, kind="stable")
    size = plan.batch_size * 4
    for first in range(0, len(order), size):
        yield from _score_chunk(target, [clips[i] for i in order[first : first + size]], plan, store, advance)


def _score_chunk(
    target: Target, clips: list[Clip], plan: Plan, store: Store, advance: Callable[[int], Any]
) -> Iterator[tuple[dict[str, Any], TokenStats]]:
    samples = [read_audio(clip) for clip in clips]
    known = [index for index, clip in enumerate(clips) if clip.text]
    reference = [target.encode(clips[index].text or "") for index in known]
    original: list[TokenStats] = []
    for condition, realization in plan.inputs():
        spoken = [clip.text or stats.text for clip, stats in zip(clips, original, strict=False)] if original else None
        audios = samples
        if condition != "original":
            audios = render_many(
                condition,
                clips,
                samples,
                realization,
                plan.seed,
                texts=spoken,
                fixed_seconds=plan.fixed_seconds,
                store=store,
            )
        scorer = _Scorer(target, plan, store, advance)
        generated = scorer(audios, None)
        cells = [("generated", range(len(clips)), generated)]
        if condition == "original":
            original = generated
        else:
            carried = scorer(audios, [stats.ids.tolist() for stats in original])
            cells.append(("carried", range(len(clips)), carried))
        cells.append(("reference", known, scorer([audios[index] for index in known], reference)))
        for scored_text, indices, scored in cells:
            for index, stats in zip(indices, scored, strict=True):
                clip = clips[index]
                row = {
                    "clip_id": clip.clip_id,
                    "target": target.id,
                    "condition": condition,
                    "realization": realization,
                    "scored_text": scored_text,
                    "generated_text": stats.text,
                    "n_tokens": len(stats.ids),
                    "wer": wer(clip.text, generated[index].text) if clip.text else float("nan"),
                    **indicators(stats),
                }
                yield row, stats


@dataclass(frozen=True)
class _Scorer:
    """Scores texts under audio through the store: equal inputs once, in batches, each batch kept when done."""

    target: Target
    plan: Plan
    store: Store
    advance: Callable[[int], Any]

    def __call__(self, audios: Sequence[np.ndarray], token_ids: Sequence[list[int]] | None) -> list[TokenStats]:
        prompt = self.plan.prompt or self.target.default_prompt
        common: dict[str, Any] = {
            "version": PROTOCOL_VERSION,
            "target": self.target.id,
            "revision": self.target.revision,
            "dtype": self.target.dtype,
            "prompt": prompt,
        }
        if token_ids is None:
            common |= {"max_new_tokens": self.plan.max_new_tokens, "protocol": self.plan.protocol}
        keys = [
            self.store.key(**common, audio=content_hash(audio), scored=None if token_ids is None else token_ids[index])
            for index, audio in enumerate(audios)
        ]
        found = {key: stats_from_arrays(value) for key in dict.fromkeys(keys) if (value := self.store.get(key))}
        self.advance(sum(key in found for key in keys))
        missing = [keys.index(key) for key in dict.fromkeys(keys) if key not in found]
        missing.sort(key=lambda index: len(audios[index]))
        for first in range(0, len(missing), self.plan.batch_size):
            batch = missing[first : first + self.plan.batch_size]
            sounds = [audios[index] for index in batch]
            if token_ids is None:
                stats = generate(self.target, sounds, prompt, self.plan.max_new_tokens, self.plan.protocol)
            else:
                stats = self.target.score(sounds, prompt, [token_ids[index] for index in batch])
            done = {keys[index]: one for index, one in zip(batch, stats, strict=True)}
            self.store.put_many({key: stats_to_arrays(one) for key, one in done.items()})
            found |= done
            self.advance(sum(key in done for key in keys))
        return [found[key] for key in keys]
