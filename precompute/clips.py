"""Clips and cohorts: the plain values every later step works on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SAMPLE_RATE = 16_000
"""Rate in Hz at which every target hears a clip; other rates are resampled once, on reading."""

TASKS: dict[str, str] = {
    "speech": "transcript",
    "sound": "caption",
    "music": "caption",
}
"""What a clip holds, and so what its text is; it chooses the prompt and what resynthesises the clip."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one sentence that says what and why."""


@dataclass(frozen=True, slots=True)  # a list of many clips is held throughout
class Clip:
    """One recording, or a span of one, with what is known about it.

    Parameters
    ----------
    clip_id : str
        Unique and stable name, the key of every table.
    path : Path
        Audio file readable by libsndfile.
    text : str or None
        Transcript or caption, where one is known.
    group : str or None
        Speaker, source or recording; clips of one group are not independent.
    start, end : float or None
        Span inside the file in seconds; None means from the beginning, to the end.
    language : str or None
        ISO 639-1 code; chooses the voice that resynthesises the clip.
    task : str
        Key of `TASKS`.
    """

    clip_id: str
    path: Path
    text: str | None = None
    group: str | None = None
    start: float | None = None
    end: float | None = None
    language: str | None = None
    task: str = "speech"

    def __post_init__(self) -> None:
        """Refuse a task that is none of `TASKS`."""
        if self.task not in TASKS:
            raise InputError(f"{self.clip_id}: task {self.task!r} is none of {', '.join(TASKS)}")


@dataclass(frozen=True)
class Cohort:
    """Clips claimed to be members and clips claimed not to be: what one audit row is about.

    Parameters
    ----------
    name : str
        Short name, for instance ``core-clean``.
    clips : tuple of Clip
    labels : tuple of int
        One per clip: 1 claimed member, 0 claimed non-member.
    title, description : str
        For people; the description states the planted truth where there is one.
    licence, attribution : str
        Of the audio; "not stated" where a list does not say.
    truth : str or None
        What is known to be true of the cohort by construction, in one sentence.
    """

    name: str
    clips: tuple[Clip, ...]
    labels: tuple[int, ...]
    title: str = ""
    description: str = ""
    licence: str = "not stated"
    attribution: str = "not stated"
    truth: str | None = None

    def __post_init__(self) -> None:
        """Refuse a cohort whose columns disagree in length or whose ids repeat."""
        if len(self.clips) != len(self.labels):
            raise InputError(f"{self.name}: {len(self.clips)} clips but {len(self.labels)} labels")
        if len({clip.clip_id for clip in self.clips}) != len(self.clips):
            raise InputError(f"{self.name}: two clips share one clip_id")

    @property
    def task(self) -> str:
        """Task of most clips."""
        tasks = [clip.task for clip in self.clips]
        return max(dict.fromkeys(tasks), key=tasks.count, default="speech")

    @property
    def label_array(self) -> np.ndarray:
        """Labels as an int array of shape (n_clips,)."""
        return np.asarray(self.labels, dtype=int)


def read_audio(clip: Clip, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Read a clip as mono float32 at `sample_rate`.

    Parameters
    ----------
    clip : Clip
    sample_rate : int
        Wanted rate in Hz.

    Returns
    -------
    np.ndarray [shape=(n_samples,)]
        Amplitudes, nominally in [-1, 1].

    Raises
    ------
    InputError
        If the file is missing, cannot be decoded, or the span holds no sample.
    """
    import soundfile

    try:
        with soundfile.SoundFile(clip.path) as file:
            rate = file.samplerate
            first = round((clip.start or 0.0) * rate)
            last = file.frames if clip.end is None else min(file.frames, round(clip.end * rate))
            file.seek(min(first, file.frames))
            samples = file.read(max(0, last - first), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError(f"{clip.path}: cannot be read as audio ({error})") from error
    if not len(samples):
        raise InputError(f"{clip.path}: holds no audio between {clip.start} and {clip.end} s")
    return resample(samples.mean(axis=1), rate, sample_rate)


def resample(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Resample mono audio exactly as ``librosa.resample`` (`soxr_hq`) does, without librosa's slow import.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,)]
    rate, wanted : int
        Rates in Hz.

    Returns
    -------
    np.ndarray [shape=(ceil(n * wanted / rate),)], float32
    """
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if rate == wanted:
        return samples
    import soxr

    length = -(-len(samples) * wanted // rate)
    result = soxr.resample(samples, rate, wanted, quality="HQ")[:length]
    return np.pad(result, (0, length - len(result)))


def content_hash(samples: np.ndarray) -> str:
    """Name audio by its content.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,)]
        Mono float32 audio.

    Returns
    -------
    str
        32 hexadecimal digits of BLAKE2b over length and samples.
    """
    digest = hashlib.blake2b(str(len(samples)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(samples, dtype=np.float32).tobytes())
    return digest.hexdigest()


def fixed(samples: np.ndarray) -> np.ndarray:
    """Make audio that nobody can change any more, for which `sound_id` costs nothing.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,)]

    Returns
    -------
    np.ndarray [shape=(n,)], float32
        The same array where it owns its samples, else a copy.
    """
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if samples.base is not None:
        samples = samples.copy()
    samples.flags.writeable = False
    return samples


def sound_id(samples: np.ndarray) -> int | str:
    """Tell audio apart within a process: what cannot change by its identity, all else by its content.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,)]
        Has to be held as long as an identity is used.

    Returns
    -------
    int or str
        Equal only for equal audio; two arrays of equal samples may differ in it.
    """
    if samples.base is None and not samples.flags.writeable:
        return id(samples)
    return content_hash(samples)
