"""Audio of every condition for many clips, the slow renderings kept in the store as FLAC."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from precompute.clips import SAMPLE_RATE, InputError
from precompute.conditions import Rendering, recipe, render_many
from precompute.store import Store


def rendered(jobs: Sequence[Rendering], store: Store) -> list[np.ndarray | None]:
    """Render each job, or take it from the store.

    Parameters
    ----------
    jobs : sequence of Rendering
    store : Store
        Keeps what has a recipe (synthetic voices) under that recipe, so that every target hears the same samples.

    Returns
    -------
    list of np.ndarray [shape=(n,)] or None
        Mono float32 at `SAMPLE_RATE`; None where a clip cannot be rendered, for instance without any text to speak.
    """
    audios: list[np.ndarray | None] = [None] * len(jobs)
    keys: dict[int, str] = {}
    missing = []
    for index, job in enumerate(jobs):
        try:
            made_of = recipe(job.name, job.clip, job.realization, job.text)
        except InputError:  # nothing to speak: this clip has no such condition
            continue
        if made_of:
            keys[index] = store.key(kind="rendered", **made_of)
            kept = store.get(keys[index])
            if kept is not None:
                audios[index] = _decode(kept["flac"])
                continue
        missing.append(index)
    fresh = {}
    for index, samples in zip(missing, render_many(jobs[i] for i in missing), strict=True):
        if isinstance(samples, InputError):
            continue
        audios[index] = samples
        if index in keys:
            flac = _encode(samples)
            audios[index] = _decode(flac)  # what is heard now is what will be read back later
            fresh[keys[index]] = {"flac": flac}
    if fresh:
        store.put_many(fresh)
    return audios


def _encode(samples: np.ndarray) -> np.ndarray:
    """Write 16-bit FLAC into an array of bytes."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return np.frombuffer(buffer.getvalue(), dtype=np.uint8)


def _decode(flac: np.ndarray | str) -> np.ndarray:
    """Read back what `_encode` wrote, as float32."""
    import soundfile

    return soundfile.read(io.BytesIO(np.asarray(flac, dtype=np.uint8).tobytes()), dtype="float32")[0]
