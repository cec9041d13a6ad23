"""Recordings whose voices are borrowed: a folder of one's own, or three speakers of LibriSpeech."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from precompute.clips import Clip, Cohort, InputError, content_hash, read_audio, resample
from precompute.conditions.voices.base import Reference, derived_seed

SUFFIXES = (".wav", ".flac")
SECONDS = (1.0, 30.0)
"""Shortest recording a voice can be told from, and the longest that CosyVoice2 takes."""

WANTED_SECONDS = (3.0, 8.0)
"""Length of the LibriSpeech references. Short ones: where the reference's text is over twice as long as the text to
speak, CosyVoice2 warns of bad speech."""

POOL = 200
"""Utterances of LibriSpeech's test part among which three speakers are picked."""

VOICES = 3
"""Reference voices of an audit, one per realization."""


def read_references(folder: Path) -> tuple[Reference, ...]:
    """Read a folder of reference voices.

    Parameters
    ----------
    folder : Path
        WAV or FLAC files, each with its transcript in a text file of the same name where that is known. Files in a
        subfolder named by an ISO 639-1 code serve clips in that language.

    Returns
    -------
    tuple of Reference
        Sorted by language and name.

    Raises
    ------
    InputError
        If there is no such folder or no recording in it, or one is unreadable, or too short or too long.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of reference voices")
    places = [(None, folder), *((path.name, path) for path in sorted(folder.iterdir()) if _is_language(path))]
    found = [
        reference(path, _transcript(path), language)
        for language, place in places
        for path in sorted(place.iterdir())
        if path.suffix.lower() in SUFFIXES
    ]
    if not found:
        raise InputError(f"{folder}: holds no WAV or FLAC file, so there is no reference voice in it")
    return tuple(found)


def reference(path: Path, text: str | None, language: str | None = None, name: str | None = None) -> Reference:
    """Describe one recording; `InputError` where it is unreadable, or its length outside `SECONDS`."""
    import soundfile

    samples = read_audio(Clip(str(path), path))
    seconds = soundfile.info(path).duration
    if not SECONDS[0] <= seconds <= SECONDS[1]:
        raise InputError(
            f"{path}: lasts {seconds:.1f} s, and a reference voice has to last from {SECONDS[0]:g} to {SECONDS[1]:g} s"
        )
    return Reference(name or path.stem, path, content_hash(samples), text, language)


def librispeech(name: str, seed: int) -> tuple[Reference, ...]:
    """Take three reference voices from LibriSpeech, as the paper did; see `pick_references`.

    They are speakers of its test part. Where LibriSpeech itself is audited, members and non-members alike are heard in
    these three voices.

    Parameters
    ----------
    name : str
        ``librispeech`` for the hub, ``librispeech=FOLDER`` for a copy of its original distribution.
    seed : int

    Returns
    -------
    tuple of 3 Reference

    Raises
    ------
    InputError
        If it cannot be had from here.
    """
    from precompute.corpora import hub

    return pick_references(hub.find(name, seed, POOL)[0], seed)


def pick_references(cohort: Cohort, seed: int) -> tuple[Reference, ...]:
    """Pick short utterances of three speakers from the non-members of a cohort.

    Non-members, because a speaker that a target was trained on would bring membership into the swapped audio.

    Parameters
    ----------
    cohort : Cohort
        Its groups are speakers.
    seed : int

    Returns
    -------
    tuple of 3 Reference
        With transcripts; per speaker one utterance within `WANTED_SECONDS`.

    Raises
    ------
    InputError
        If fewer than three speakers have one.
    """
    import soundfile

    others = [clip for clip, label in zip(cohort.clips, cohort.labels, strict=True) if not label and clip.group]
    ranked = sorted(others, key=lambda clip: derived_seed(seed, clip.group, clip.clip_id))
    speakers = sorted({str(clip.group) for clip in others}, key=lambda group: derived_seed(seed, group))
    picked: list[Clip] = []
    for speaker in speakers:
        spoken = (clip for clip in ranked if clip.group == speaker and clip.text and clip.start is None)
        fitting = (c for c in spoken if WANTED_SECONDS[0] <= soundfile.info(c.path).duration <= WANTED_SECONDS[1])
        picked += [clip for clip in [next(fitting, None)] if clip is not None]
        if len(picked) == VOICES:
            return tuple(reference(c.path, c.text, name=c.clip_id.rsplit("/", 1)[-1]) for c in picked)
    raise InputError(
        f"{cohort.name}: only {len(picked)} speakers have an utterance of {WANTED_SECONDS[0]:g} to "
        f"{WANTED_SECONDS[1]:g} s, and {VOICES} reference voices are needed"
    )


def borrowed(reference: Reference, lowest: int, exact: int | None = None) -> tuple[np.ndarray, int]:
    """Read a reference at a rate that an engine takes.

    Parameters
    ----------
    reference : Reference
    lowest : int
        Lowest rate in Hz that the engine takes; recordings below it, telephone speech for one, are upsampled.
    exact : int or None
        The one rate it takes, where there is one.

    Returns
    -------
    samples : np.ndarray [shape=(n,)], float32
        Mono.
    rate : int

    Raises
    ------
    InputError
        If the file is not what it was when the audit began.
    """
    import soundfile

    clip = Clip(reference.name, reference.path)
    if content_hash(read_audio(clip)) != reference.content:
        raise InputError(f"{reference.path}: has changed since the audit began")
    own = soundfile.info(reference.path).samplerate
    rate = exact or max(lowest, own)
    return resample(read_audio(clip, own), own, rate), rate


def wav_bytes(samples: np.ndarray, rate: int) -> bytes:
    """Write mono audio as a 16-bit WAV file in memory."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def for_language(references: Sequence[Reference], code: str) -> tuple[Reference, ...]:
    """Select the references of a language; where there are none, those of no stated language; else all."""
    own = tuple(one for one in references if one.language == code)
    return own or tuple(one for one in references if one.language is None) or tuple(references)


def _is_language(path: Path) -> bool:
    return path.is_dir() and len(path.name) == 2 and path.name.isalpha()


def _transcript(path: Path) -> str | None:
    """Text of the file of the same name, None where there is none or it is blank."""
    beside = path.with_suffix(".txt")
    try:
        return " ".join(beside.read_text(encoding="utf-8").split()) or None if beside.is_file() else None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{beside}: cannot be read as text ({error})") from error
