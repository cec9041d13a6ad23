"""From clips and a target to the table of scores: every condition, realization and scored text, cached per clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from precompute.clips import SAMPLE_RATE, Clip, content_hash, fixed, read_audio
from precompute.conditions import CONDITIONS, FIXED_SECONDS, Rendering
from precompute.conditions.casting import EMBEDDED, Casting
from precompute.conditions.voices import Studio
from precompute.indicators import STATISTICS, TokenStats, indicators
from precompute.labels import label_indicators
from precompute.rendered import rendered
from precompute.scoring import stats_from_arrays, stats_to_arrays, under_protocol, wer
from precompute.store import Store
from precompute.targets.base import Target
from precompute.work import BatchSize, Work, ahead, execute_together, side_by_side

PROTOCOL_VERSION = 2
"""Part of every cache key: raised when the same inputs would give other numbers."""


CHUNK_BYTES = 2**27
"""Audio of a chunk of clips, all its inputs together: what is held at once."""

CHUNK_CLIPS = 128
"""Clips of a chunk at most: of short ones the texts weigh more than the audio."""

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
    batch_size : int or None
        Clips read together; None follows the memory of the device.
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
    batch_size: int | None = None
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
    size = BatchSize.of(plan.batch_size, target)
    chunks = _chunks(target, clips, plan, store, advance)
    for chunk in ahead(_Chunk.made_ready(scorer, part, studio) for scorer, part in chunks):
        yield from _score_chunk(chunk, studio, size)
        del chunk  # before the next but one is read: audio of two at once is enough


def missing_works(
    stage: int,
    target: Target,
    clips: Sequence[Clip],
    plan: Plan,
    store: Store,
    advance: Callable[[int], Any],
    studio: Studio | None = None,
) -> Iterator[Work]:
    """Works that the store lacks, read and rendered one chunk of clips after the other, for an engine that streams.

    Parameters
    ----------
    stage : int
        1 for the original audio; 2, once the first is in the store, for the other audio and the text carried there.
    target, clips, plan, store, advance, studio
        As in `score_clips`; `advance` is told how many clips were gone through.

    Yields
    ------
    Work
        Every key once.
    """
    sent: set[str] = set()
    for scorer, chunk in _chunks(target, clips, plan, store, lambda _: None):
        for work in _asked(stage, scorer, chunk, studio):
            if work.key not in sent and work.key not in store:
                sent.add(work.key)
                yield work
        advance(len(chunk))


def _asked(stage: int, scorer: _Scorer, clips: list[Clip], studio: Studio | None) -> list[Work]:
    """All works of one stage of one chunk, in a frame of its own: of the chunk before nothing is held."""
    chunk = _Chunk.read(scorer, clips)
    original = chunk.original()
    inputs = [original]
    if stage == 2:
        inputs = chunk.swapped(original, scorer.look_up(original.works), studio)
    return [work for one in inputs for work in one.works]


def _chunks(
    target: Target, clips: Sequence[Clip], plan: Plan, store: Store, advance: Callable[[int], Any]
) -> Iterator[tuple[_Scorer, list[Clip]]]:
    """Clips of one prompt and of like length, so many as may be held at once under every condition."""
    import soundfile

    for prompt, same in _by_prompt(target, clips, plan).items():
        lengths = np.array([(c.end or soundfile.info(c.path).duration) - (c.start or 0.0) for c in same])
        scorer = _Scorer(target, plan, store, advance, prompt)
        chunk: list[Clip] = []
        held = 0.0
        # The longest first: what memory it takes shows at once, and later ones fit where earlier ones were.
        for index in np.argsort(-lengths, kind="stable"):
            needed = 4 * SAMPLE_RATE * lengths[index] * len(plan.inputs())
            if chunk and (held + needed > CHUNK_BYTES or len(chunk) == CHUNK_CLIPS):
                yield scorer, chunk
                chunk, held = [], 0.0
            chunk.append(same[index])
            held += needed
        if chunk:
            yield scorer, chunk


def _by_prompt(target: Target, clips: Sequence[Clip], plan: Plan) -> dict[str, list[Clip]]:
    """Clips by the prompt they are heard with."""
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(plan.prompt_for(target, clip.task), []).append(clip)
    return groups


def _score_chunk(chunk: _Chunk, studio: Studio | None, size: BatchSize) -> Iterator[tuple[dict[str, Any], TokenStats]]:
    """Score the clips of one chunk, which are read once for all conditions."""
    scorer, clips = chunk.scorer, chunk.clips
    original = chunk.original()
    found = scorer.through_store(original.works, size)
    swapped = chunk.swapped(original, found, studio)
    found |= scorer.through_store([work for one in swapped for work in one.works], size)
    for one in (original, *swapped):
        scorer.advance(sum(len(keys) - sum(key in found for key in keys) for keys in one.keys.values()))
        written = [found.get(key, NO_TOKENS).text for key in one.keys["generated"]]
        errors = [wer(clip.text, text) for clip, text in zip(clips, written, strict=True)]
        for scored_text, keys in one.keys.items():
            for clip, key, text, error in zip(clips, keys, written, errors, strict=True):
                if scored_text == "reference" and not clip.text:
                    continue
                stats = found.get(key, NO_TOKENS)
                yield _row(scorer.target, one, clip, scored_text, stats, text, error), stats


def _row(
    target: Target, heard: _Input, clip: Clip, scored_text: str, stats: TokenStats, written: str, error: float
) -> dict[str, Any]:
    """Row of ``scores.parquet`` without dataset and label."""
    row = {
        "clip_id": clip.clip_id,
        "target": target.id,
        "condition": heard.condition,
        "realization": heard.realization,
        "scored_text": scored_text,
        "generated_text": stats.text,
        "n_tokens": stats.n_tokens,
        "wer": error,
        **indicators(stats),
    }
    if target.access == "labels":  # it names no tokens; its text alone is judged
        row |= {"n_tokens": float("nan"), **label_indicators(clip.text, written)}
    return row


@dataclass(frozen=True)
class _Input:
    """One condition in one realization of the clips of a chunk: what is asked, and under which keys.

    Parameters
    ----------
    condition : str
    realization : int
    keys : dict of str to list of str
        By scored text: a key per clip, empty where there is nothing to score.
    works : list of Work
    """

    condition: str
    realization: int
    keys: dict[str, list[str]]
    works: list[Work]


@dataclass(frozen=True)
class _Chunk:
    """Clips read together.

    Parameters
    ----------
    scorer : _Scorer
    clips : list of Clip
    samples : list of np.ndarray [shape=(n_samples,)]
    made : dict of (str, int) to list of np.ndarray [shape=(n_samples,)] or None
        By condition and realization: what was rendered before any text was written, one per clip.
    """

    scorer: _Scorer
    clips: list[Clip]
    samples: list[np.ndarray]
    made: dict[tuple[str, int], list[np.ndarray | None]]

    @classmethod
    def read(cls, scorer: _Scorer, clips: list[Clip]) -> _Chunk:
        """Read the audio of clips."""
        return cls(scorer, clips, [read_audio(clip) for clip in clips], {})

    @classmethod
    def made_ready(cls, scorer: _Scorer, clips: list[Clip], studio: Studio | None) -> _Chunk:
        """Read the audio of clips, and render it where that needs no text from the target, which is not used here."""
        chunk = cls.read(scorer, clips)
        if all(clip.text for clip in clips):
            texts = [str(clip.text) for clip in clips]
            made = {one: chunk._rendered(*one, texts, studio) for one in scorer.plan.inputs()[1:]}
            return replace(chunk, made=made)
        return chunk

    def _rendered(
        self, condition: str, realization: int, texts: Sequence[str], studio: Studio | None
    ) -> list[np.ndarray | None]:
        plan = self.scorer.plan
        jobs = [
            Rendering(condition, clip, samples, realization, plan.seed, text, plan.fixed_seconds, plan.casting)
            for clip, samples, text in zip(self.clips, self.samples, texts, strict=True)
        ]
        return rendered(jobs, self.scorer.store, studio)

    @cached_property
    def reference(self) -> list[list[int]] | None:
        """Known texts as the target's own tokens, empty where there is none; None of a target that scores no text."""
        target = self.scorer.target
        if target.access != "weights":  # an endpoint scores what it writes, and no text it is given
            return None
        return [target.encode(clip.text) if clip.text else [] for clip in self.clips]

    def original(self) -> _Input:
        """Ask about the clips as recorded."""
        texts = {} if self.reference is None else {"reference": self.reference}
        return self.scorer.ask("original", 0, self.samples, texts)

    def swapped(self, original: _Input, found: Mapping[str, TokenStats], studio: Studio | None) -> list[_Input]:
        """Ask about every other input; the text carried there is what the target wrote for the original."""
        wrote = [found.get(key, NO_TOKENS) for key in original.keys["generated"]]
        texts = {}
        if self.reference is not None:
            texts = {"carried": [stats.ids.tolist() for stats in wrote], "reference": self.reference}
        spoken = [clip.text or stats.text for clip, stats in zip(self.clips, wrote, strict=True)]
        return [
            self.scorer.ask(*one, self.made[one] if one in self.made else self._rendered(*one, spoken, studio), texts)
            for one in self.scorer.plan.inputs()[1:]
        ]


@dataclass(frozen=True)
class _Scorer:
    """Scores texts under audio through the store: equal inputs once, in batches, each batch kept when done."""

    target: Target
    plan: Plan
    store: Store
    advance: Callable[[int], Any]
    prompt: str

    def ask(
        self,
        condition: str,
        realization: int,
        audios: Sequence[np.ndarray | None],
        texts: Mapping[str, Sequence[list[int]]],
    ) -> _Input:
        """Let the target write a text for each audio, and score given ones; an absent audio or text asks nothing."""
        plan = self.plan
        asked = _Input(condition, realization, {"generated": []}, [])
        hashes = [None if audio is None else content_hash(audio) for audio in audios]
        one_of: dict[str, np.ndarray] = {}  # equal audio is one array from here on
        audios = [
            None if audio is None or name is None else one_of.setdefault(name, fixed(audio))
            for audio, name in zip(audios, hashes, strict=True)
        ]
        how = {"max_new_tokens": plan.max_new_tokens, "protocol": plan.protocol}
        for audio, name in zip(audios, hashes, strict=True):
            key = "" if name is None else self._key(name, **how)
            asked.keys["generated"].append(key)
            if audio is not None:
                asked.works.append(Work(key, audio, self.prompt, plan.max_new_tokens))
        for scored_text, rows in texts.items():
            keys = asked.keys[scored_text] = []
            for audio, name, ids in zip(audios, hashes, rows, strict=True):
                key = "" if name is None or not ids else self._key(name, scored=ids)
                keys.append(key)
                if audio is not None and ids:
                    asked.works.append(Work(key, audio, self.prompt, plan.max_new_tokens, tuple(ids)))
        return asked

    def _key(self, audio: str, **what: Any) -> str:
        target = {"target": self.target.id, "revision": self.target.revision, "dtype": self.target.dtype}
        return self.store.key(
            kind="scored", version=PROTOCOL_VERSION, **target, prompt=self.prompt, audio=audio, **what
        )

    def look_up(self, works: Sequence[Work]) -> dict[str, TokenStats]:
        """Take from the store what it holds."""
        keys = dict.fromkeys(work.key for work in works)
        return {key: stats_from_arrays(value) for key in keys if (value := self.store.get(key)) is not None}

    def through_store(self, works: Sequence[Work], size: BatchSize) -> dict[str, TokenStats]:
        """Do what the store lacks, and keep each batch when done.

        Progress counts scored texts: a result that several of them share counts for all.
        """
        shared = Counter(work.key for work in works)
        found = self.look_up(works)
        self.advance(sum(shared[key] for key in found))
        missing = {work.key: work for work in works if work.key not in found}
        targets = [under_protocol(one, self.plan.protocol) for one in side_by_side(self.target)]
        for done in execute_together(targets, missing.values(), size):
            self.store.put_many({key: stats_to_arrays(stats) for key, stats in done.items()})
            found |= done
            self.advance(sum(shared[key] for key in done))
        return found
