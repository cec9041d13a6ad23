"""Audio of every condition for many clips, the slow renderings kept in the store as FLAC."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import numpy as np

from precompute.clips import SAMPLE_RATE, InputError
from precompute.conditions import Rendering, recipe, render_many
from precompute.conditions.voices import EngineFailed, Studio
from precompute.store import Store

KEPT_AT_ONCE = 16
"""Fresh renderings put into the store together: an audit that is killed loses at most so many."""


def rendered(jobs: Sequence[Rendering], store: Store, studio: Studio | None = None) -> list[np.ndarray | None]:
    """Render each job, or take it from the store.

    Parameters
    ----------
    jobs : sequence of Rendering
    store : Store
        Keeps what has a recipe (other voices, rendered captions) under that recipe, so that every target hears the
        same samples.
    studio : Studio or None
        Engines already open; None opens one for this call.

    Returns
    -------
    list of np.ndarray [shape=(n,)] or None
        Mono float32 at `SAMPLE_RATE`; None where a clip cannot be rendered, for instance without any text to speak.

    Raises
    ------
    EngineFailed
        If what resynthesises does not work; what it rendered until then is in the store.
    """
    with contextlib.nullcontext(studio) if studio is not None else Studio() as place:
        return _rendered(jobs, store, place)


def _rendered(jobs: Sequence[Rendering], store: Store, studio: Studio) -> list[np.ndarray | None]:
    """As `rendered`, with a studio at hand."""
    audios: list[np.ndarray | None] = [None] * len(jobs)
    keys: dict[int, str] = {}
    missing = []
    for index, job in enumerate(jobs):
        try:
            made_of = recipe(job.name, job.clip, job.realization, job.text, job.seed, job.casting, studio)
        except EngineFailed:
            raise
        except InputError:  # nothing to speak: this clip has no such condition
            continue
        if made_of:
            keys[index] = store.key(kind="rendered", **made_of)
            kept = store.get(keys[index])
            if kept is not None:
                audios[index] = _decode(kept["flac"])
                continue
        missing.append(index)
    # Equal recipes, of clips that share a wording say, are rendered once.
    first_of = {keys[index]: index for index in reversed(missing) if index in keys}
    distinct = [index for index in missing if first_of.get(keys.get(index, ""), index) == index]
    fresh: dict[str, dict[str, np.ndarray | str]] = {}
    try:
        for index, samples in zip(distinct, render_many((jobs[i] for i in distinct), studio=studio), strict=True):
            if isinstance(samples, InputError):
                continue
            audios[index] = samples
            if index in keys:
                flac = _encode(samples)
                audios[index] = _decode(flac)  # what is heard now is what will be read back later
                fresh[keys[index]] = {"flac": flac}
            if len(fresh) == KEPT_AT_ONCE:
                store.put_many(fresh)
                fresh.clear()
    finally:
        store.put_many(fresh)
    for index in missing:
        audios[index] = audios[first_of.get(keys.get(index, ""), index)]
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
