"""Metadata blind features: what a file listing and the length of the transcript say about a clip."""

from __future__ import annotations

import numpy as np

from precompute.clips import SAMPLE_RATE, Clip, InputError

CONTAINERS = ("wav", "flac", "mp3", "ogg", "opus", "m4a", "other")
METADATA: tuple[str, ...] = (
    *(f"metadata.{name}" for name in ("duration_s", "file_size", "word_count", "character_count")),
    *(f"metadata.{name}" for name in ("sample_rate", "channels", "bit_rate")),
    *(f"metadata.container_{name}" for name in CONTAINERS),
)


def metadata_features(clip: Clip, samples: np.ndarray) -> dict[str, float]:
    """Size, length and format of a clip, read from the file's header and its transcript.

    Parameters
    ----------
    clip : Clip
    samples : np.ndarray [shape=(n,)]
        The clip's audio at 16 kHz, which gives its duration.

    Returns
    -------
    dict of str to float
        Under the names in `METADATA`: seconds, bytes (of a span its share of the file), words, characters, Hz,
        channels, bits per second, and one indicator column per container format.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    import soundfile

    try:
        info = soundfile.info(clip.path)
        size = clip.path.stat().st_size
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError(f"{clip.path}: cannot be read as audio ({error})") from error
    duration = len(samples) / SAMPLE_RATE
    if clip.start is not None or clip.end is not None:
        size = size * min(1.0, duration / max(info.duration, 1e-9))
    text = clip.text or ""
    suffix = clip.path.suffix.lower().lstrip(".")
    container = suffix if suffix in CONTAINERS else "other"
    values = [
        duration,
        size,
        len(text.split()),
        len(text),
        info.samplerate,
        info.channels,
        8 * size / max(duration, 1e-9),
    ]
    values += [float(container == name) for name in CONTAINERS]
    return dict(zip(METADATA, (float(value) for value in values), strict=True))
