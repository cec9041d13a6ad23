"""From clips and a target to the table of scores: every condition, realization and scored text, cached per clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from precompute.clips import Clip, content_hash, read_audio
from precompute.conditions import CONDITIONS, FIXED_SECONDS, Rendering
from precompute.conditions.casting import EMBEDDED, Casting
from precompute.conditions.voices import Studio
from precompute.indicators import STATISTICS, TokenStats, indicators
from precompute.labels import label_indicators
from precompute.rendered import rendered
from precompute.scoring import generate, score, stats_from_arrays, stats_to_arrays, wer
from precompute.store import Store
from precompute.targets.base import Target

PROTOCOL_VERSION = 1
"""Part of every cache key: raised when the same inputs would give other numbers."""


NO_TOKENS = TokenStats.from_numbers(
    np.zeros(0, dtype=np.int64), np.zeros((0, len(STATISTICS)), dtype=np.float32), (), ""
)
"""Statistics of a text that could not be scored; its indicators are NaN and it is excluded, and counted, later."""


@dataclass(frozen=True)
class Plan:
    """What is asked of every target.

    Parameters
    ----------
    conditions : tuple of str
        Names from `CONDITIONS`; ``original`` comes first.
    prompt : str or None
        For every task; None uses the target's own per task.
    max_new_tokens : int
    batch_size : int
    protocol : str
        ``single-pass`` or ``two-pass``.
    seed : int
        Of the noise.
    fixed_seconds : float
        Length of the ``*_fixed`` conditions.
    casting : Casting
        Who resynthesises clips.
    prompts : mapping of str to str
        By task, where neither `prompt` nor the target's own is wanted.
    """

    conditions: tuple[str, ...]
    prompt: str | None = None
    max_new_tokens: int = 64
    batch_size: int = 16
    protocol: str = "single-pass"
    seed: int = 0
    fixed_seconds: float = FIXED_SECONDS
    casting: Casting = EMBEDDED
    prompts: Mapping[str, str] = field(default_factory=dict)

    def prompt_for(self, target: Target, task: str) -> str:
        """Give the prompt that a target is asked with about clips of a task."""
        return self.prompt or self.prompts.get(task) or target.prompts[task]

    def inputs(self) -> list[tuple[str, int]]:
        """Every (condition, realization) pair, the original first."""
        names = ["original", *(name for name in self.conditions if name != "original")]
        return [(name, index) for name in names for index in range(CONDITIONS[name].realizations)]

    def texts_per_clip(self) -> int:
        """Scored texts a clip with a transcript has: generated and reference everywhere, carried elsewhere."""
        return 3 * len(self.inputs()) - 1


def score_clips(
    target: Target,
    clips: Sequence[Clip],
    plan: Plan,
    store: Store,
    advance: Callable[[int], Any],
    studio: Studio | None = None,
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
    studio : Studio or None
        What resynthesises; None opens one for each call, which loads a large model anew each time.

    Yields
    ------
    tuple of (dict, TokenStats)
        A row of ``scores.parquet`` without dataset and label, and the token statistics behind it.
    """
    import soundfile

    size = plan.batch_size * 4
    for prompt, same in _by_prompt(target, clips, plan).items():
        lengths = [(clip.end or soundfile.info(clip.path).duration) - (clip.start or 0.0) for clip in same]
        order = np.argsort(lengths, kind="stable")
        for first in range(0, len(order), size):
            chunk = [same[i] for i in order[first : first + size]]
            yield from _score_chunk(_Scorer(target, plan, store, advance, prompt), chunk, studio)


def _by_prompt(target: Target, clips: Sequence[Clip], plan: Plan) -> dict[str, list[Clip]]:
    """Clips by the prompt they are heard with."""
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(plan.prompt_for(target, clip.task), []).append(clip)
    return groups


def _score_chunk(
    scorer: _Scorer, clips: list[Clip], studio: Studio | None
) -> Iterator[tuple[dict[str, Any], TokenStats]]:
    """Score the clips of one chunk, which are read once for all conditions."""
    target, plan = scorer.target, scorer.plan
    samples = [read_audio(clip) for clip in clips]
    given = target.access == "weights"  # an endpoint scores what it writes, and no text it is given
    reference = [target.encode(clip.text) if clip.text and given else None for clip in clips]
    original = scorer.generate(samples)
    for condition, realization in plan.inputs():
        if condition == "original":
            audios: Sequence[np.ndarray | None] = samples
            cells = {"generated": original}
        else:
            jobs = [
                Rendering(
                    *(condition, clip, heard, realization, plan.seed, clip.text or wrote.text),
                    *(plan.fixed_seconds, plan.casting),
                )
                for clip, heard, wrote in zip(clips, samples, original, strict=True)
            ]
            audios = rendered(jobs, scorer.store, studio)
            cells = {"generated": scorer.generate(audios)}
            if given:
                cells["carried"] = scorer.score(audios, [stats.ids.tolist() for stats in original])
        if given:
            cells["reference"] = scorer.score(audios, reference)
        for scored_text, scored in cells.items():
            for clip, wrote, stats in zip(clips, cells["generated"], scored, strict=True):
                if scored_text == "reference" and not clip.text:
                    continue
                row = {
                    "clip_id": clip.clip_id,
                    "target": target.id,
                    "condition": condition,
                    "realization": realization,
                    "scored_text": scored_text,
                    "generated_text": stats.text,
                    "n_tokens": stats.n_tokens,
                    "wer": wer(clip.text, wrote.text),
                    **indicators(stats),
                }
                if target.access == "labels":  # it names no tokens; its text alone is judged
                    row |= {"n_tokens": float("nan"), **label_indicators(clip.text, wrote.text)}
                yield row, stats


@dataclass(frozen=True)
class _Scorer:
    """Scores texts under audio through the store: equal inputs once, in batches, each batch kept when done."""

    target: Target
    plan: Plan
    store: Store
    advance: Callable[[int], Any]
    prompt: str

    def generate(self, audios: Sequence[np.ndarray | None]) -> list[TokenStats]:
        """Let the target write a text for each audio; an absent audio gives no token."""
        how = {"max_new_tokens": self.plan.max_new_tokens, "protocol": self.plan.protocol}
        keys = [None if audio is None else self._key(audio, **how) for audio in audios]

        def compute(batch: list[int]) -> list[TokenStats]:
            sounds = [audio for i in batch if (audio := audios[i]) is not None]
            return generate(self.target, sounds, self.prompt, self.plan.max_new_tokens, self.plan.protocol)

        return self._through_store(keys, compute, [0 if audio is None else len(audio) for audio in audios])

    def score(self, audios: Sequence[np.ndarray | None], texts: Sequence[list[int] | None]) -> list[TokenStats]:
        """Score given token ids under each audio; an absent audio or text gives no token."""
        pairs = list(zip(audios, texts, strict=True))
        keys = [None if audio is None or not ids else self._key(audio, scored=ids) for audio, ids in pairs]

        def compute(batch: list[int]) -> list[TokenStats]:
            given = [(audio, ids) for i in batch for audio, ids in [pairs[i]] if audio is not None and ids]
            return score(self.target, [audio for audio, _ in given], self.prompt, [ids for _, ids in given])

        return self._through_store(keys, compute, [0 if audio is None else len(audio) for audio in audios])

    def _key(self, audio: np.ndarray, **what: Any) -> str:
        target = {"target": self.target.id, "revision": self.target.revision, "dtype": self.target.dtype}
        return self.store.key(
            kind="scored", version=PROTOCOL_VERSION, **target, prompt=self.prompt, audio=content_hash(audio), **what
        )

    def _through_store(
        self, keys: Sequence[str | None], compute: Callable[[list[int]], list[TokenStats]], lengths: Sequence[int]
    ) -> list[TokenStats]:
        wanted = dict.fromkeys(key for key in keys if key is not None)
        found = {key: stats_from_arrays(value) for key in wanted if (value := self.store.get(key)) is not None}
        self.advance(sum(key is None or key in found for key in keys))
        missing = sorted((keys.index(key) for key in wanted if key not in found), key=lambda index: lengths[index])
        for first in range(0, len(missing), self.plan.batch_size):
            batch = missing[first : first + self.plan.batch_size]
            done = {str(keys[index]): stats for index, stats in zip(batch, compute(batch), strict=True)}
            self.store.put_many({key: stats_to_arrays(stats) for key, stats in done.items()})
            found |= done
            self.advance(sum(key in done for key in keys))
        return [NO_TOKENS if key is None else found[key] for key in keys]
