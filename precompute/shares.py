"""What every dataset of an audit brings, counted without decoding audio: of what is here, and of what is on the hub."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from precompute.clips import SAMPLE_RATE, Clip, Cohort, InputError
from precompute.corpora import hub
from precompute.corpora.hub_draw import OVERSAMPLE, folder_of
from precompute.request import Request, check_cohorts, cohorts_of, unique_clips

if TYPE_CHECKING:
    import soundfile

FLAC = 0.7
"""Bytes of FLAC per byte of the 16-bit samples it holds: 0.67 for the embedded speech."""


@dataclass(frozen=True)
class Share:
    """What a dataset brings to an audit.

    Parameters
    ----------
    dataset, task, licence : str
    where : str
        Whether it is here, for people.
    members, non_members : int
    clips : int
        That no earlier dataset of the audit has.
    with_text : int
        Of those, clips whose transcript or caption is known.
    lengths : int
        Distinct lengths among them that no earlier dataset has: silence of equal length is one input.
    spoken : int
        Distinct texts to resynthesise; a clip without a text counts as one of its own.
    fixed : int
        Inputs that are the same for all clips of a task: 1 where no earlier dataset has that task.
    seconds : float
        Of the clips.
    sample_bytes : float
        Of their 16-bit samples at their own rates.
    gated : bool
    download_bytes : float
        About what would be read from the hub.
    here : bool
    """

    dataset: str
    task: str
    licence: str
    where: str
    members: int
    non_members: int
    clips: int
    with_text: int
    lengths: int
    spoken: int
    fixed: int
    seconds: float
    sample_bytes: float
    gated: bool = False
    download_bytes: float = 0.0
    here: bool = True


def shares_of(request: Request) -> tuple[tuple[Share, ...], dict[Clip, float]]:
    """Count what every dataset brings.

    Parameters
    ----------
    request : Request

    Returns
    -------
    tuple of (tuple of Share, dict of Clip to float)
        And the clips that are on this machine, each once, with their seconds.

    Raises
    ------
    InputError
        Where an audit of these datasets would be refused, or a file cannot be read.
    """
    seen = _Seen()
    shares: list[Share] = []
    cohorts: list[Cohort] = []
    for name in request.datasets:
        corpus = undrawn(name, request)
        if corpus is not None:
            shares.append(declared_share(corpus, seen))
            continue
        for cohort in cohorts_of(dataclasses.replace(request, datasets=(name,))):
            cohorts.append(cohort)
            shares.append(share_of(cohort, seen))
    check_cohorts(cohorts)
    return tuple(shares), {clip: seen.clips[clip.clip_id] for clip in unique_clips(cohorts)}


def undrawn(name: str, request: Request) -> hub.HubCorpus | None:
    """Give the corpus of a name where none of it is on this machine; None where its clips can be listed."""
    if not hub.handles(name):
        return None
    corpus, folder = hub.known(name)
    per_class = request.limit or request.per_class.get(name)
    corpus = corpus if per_class is None else dataclasses.replace(corpus, per_class=per_class)
    if folder is not None or (corpus.hub_id and (folder_of(corpus, request.seed) / "drawn.json").is_file()):
        return None
    return corpus


@dataclass
class _Seen:
    """What earlier datasets of an audit brought; clips with their seconds."""

    clips: dict[str, float] = field(default_factory=dict)
    lengths: set[tuple[str, int]] = field(default_factory=set)
    spoken: set[tuple[str | None, ...]] = field(default_factory=set)
    tasks: set[str] = field(default_factory=set)

    @staticmethod
    def new(known: set[Any], values: Iterable[Any]) -> int:
        """Count values that were not known, and know them."""
        before = len(known)
        known.update(values)
        return len(known) - before


def share_of(cohort: Cohort, seen: _Seen) -> Share:
    """Count what the clips of a cohort bring that were not in an earlier one; only their files' headers are read."""
    fresh = [clip for clip in cohort.clips if clip.clip_id not in seen.clips]
    headers = {path: header(path) for path in dict.fromkeys(clip.path for clip in fresh)}
    seconds = [seconds_of(clip, headers) for clip in fresh]
    seen.clips |= {clip.clip_id: length for clip, length in zip(fresh, seconds, strict=True)}
    lengths = [(clip.task, round(length * SAMPLE_RATE)) for clip, length in zip(fresh, seconds, strict=True)]
    spoken = [(clip.text, clip.language, clip.task) if clip.text else (None, clip.clip_id) for clip in fresh]
    return Share(
        dataset=cohort.name,
        task=cohort.clips[0].task,
        licence=cohort.licence,
        where="here",
        members=sum(cohort.labels),
        non_members=len(cohort.labels) - sum(cohort.labels),
        clips=len(fresh),
        with_text=sum(bool(clip.text) for clip in fresh),
        lengths=seen.new(seen.lengths, lengths),
        spoken=seen.new(seen.spoken, spoken),
        fixed=seen.new(seen.tasks, (clip.task for clip in fresh)),
        seconds=sum(seconds),
        sample_bytes=sum(2.0 * headers[c.path].samplerate * s for c, s in zip(fresh, seconds, strict=True)),
    )


def header(path: Path) -> soundfile._SoundFileInfo:
    """Read the header of an audio file."""
    import soundfile

    try:
        return soundfile.info(path)
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError(f"{path}: cannot be read as audio ({error})") from error


def seconds_of(clip: Clip, headers: Mapping[Path, soundfile._SoundFileInfo]) -> float:
    """Length of a clip by its file's header."""
    whole = float(headers[clip.path].duration)
    return max(0.0, (whole if clip.end is None else min(clip.end, whole)) - (clip.start or 0.0))


def declared_share(corpus: hub.HubCorpus, seen: _Seen) -> Share:
    """Count what a corpus brings of which nothing is here, by its declaration: every clip its own length and text."""
    clips = 2 * corpus.per_class
    seconds = clips * corpus.mean_seconds
    samples = 2.0 * SAMPLE_RATE * seconds
    return Share(
        dataset=corpus.name,
        task=corpus.task,
        licence=corpus.licence,
        where=hub.whereabouts(corpus),
        members=corpus.per_class,
        non_members=corpus.per_class,
        clips=clips,
        with_text=clips if corpus.columns.text else 0,
        lengths=clips,
        spoken=clips,
        fixed=seen.new(seen.tasks, [corpus.task]),
        seconds=seconds,
        sample_bytes=samples,
        gated=corpus.gated,
        download_bytes=OVERSAMPLE * FLAC * samples if corpus.hub_id else 0.0,
        here=False,
    )
