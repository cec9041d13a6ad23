"""Score one clip that somebody brought: limits, the clip itself, the same under silence and resynthesised, in words."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from explorer.catalog import Catalog, Words
from explorer.served import read_light
from precompute.bundle import prompt_of
from precompute.clips import SAMPLE_RATE, Clip, InputError
from precompute.conditions import render
from precompute.single_clip import sentence

MAX_SECONDS = 30.0
MAX_MEGABYTES = 10
SHORTEST_SECONDS = 0.1


class Scorer(Protocol):
    """Anything that scores samples against a dataset and a target of one bundle."""

    def __call__(self, samples: np.ndarray, text: str | None, dataset: str, target: str) -> dict[str, Any]:
        """Score mono float32 audio at `SAMPLE_RATE`; the dict of ``precompute.single_clip.score_clip``."""


def bundle_scorer(catalog: Catalog, load: Callable[[str], Any] | None = None) -> Scorer:
    """Scorer that loads the real target when first asked for.

    Parameters
    ----------
    catalog : Catalog
    load : callable or None
        Target id to a loaded target; None loads as the audit did.
    """
    loaded = lru_cache(maxsize=2)(load or _load_target)

    def score(samples: np.ndarray, text: str | None, dataset: str, target: str) -> dict[str, Any]:
        from precompute.single_clip import score_clip

        described = next(row for row in catalog.targets if row["id"] == target)
        return score_clip(
            samples,
            text,
            catalog.bundle.models(),
            dataset,
            target,
            loaded(target),
            prompt_of(catalog.bundle.audit, dataset, target),
            int(described.get("max_new_tokens", 64)),
        )

    return score


def _load_target(name: str) -> Any:
    from precompute.targets import load_target

    return load_target(name)


def read_upload(path: Path | str | None) -> np.ndarray:
    """Read an uploaded or recorded clip within the limits.

    Parameters
    ----------
    path : Path, str or None

    Returns
    -------
    np.ndarray [shape=(n,)], float32
        Mono at `SAMPLE_RATE`.

    Raises
    ------
    InputError
        With one sentence: nothing given, too large, too long, too short, silent, or no audio.
    """
    if not path:
        raise InputError("Choose a file, record something, or take one of the examples first.")
    file = Path(path)
    if not file.is_file():
        raise InputError("This file is gone, since files are deleted after scoring; choose it again.")
    if file.stat().st_size > MAX_MEGABYTES * 1e6:
        raise InputError(f"This file is larger than {MAX_MEGABYTES} MB; cut a shorter piece.")
    length = _seconds(file)
    if length > MAX_SECONDS:
        raise InputError(f"This clip lasts {length:.0f} s and the limit is {MAX_SECONDS:.0f} s; cut a shorter piece.")
    if length < SHORTEST_SECONDS:
        raise InputError("This clip is too short to hold a sound.")
    return read_light(file)


def _seconds(file: Path) -> float:
    import soundfile

    try:
        return float(soundfile.info(file).duration)
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError(
            "This file cannot be read as audio; save it as WAV, FLAC, MP3 or OGG and try again."
        ) from error


def score_upload(
    path: Path | str | None,
    dataset: str,
    target: str,
    text: str | None,
    catalog: Catalog,
    score: Scorer,
    progress: Callable[[float, str], Any] = lambda share, what: None,
) -> dict[str, Any]:
    """Score an upload as it is, as silence, and as what the target wrote, spoken or rendered anew.

    Returns
    -------
    dict
        `dataset`, `target`, `seconds`, `clip`, `silence` and `voice` (each as ``score_clip`` gives it, or None with a
        sentence in `voice_note`), `sentence`; or only `error`, a sentence.
    """
    try:
        if (dataset, target) not in catalog.pairs:
            raise InputError("This target was not run on this dataset; choose another pair.")
        progress(0.05, "reading the clip")
        samples = read_upload(path)
        progress(0.2, "loading the target and listening")
        result = score(samples, (text or "").strip() or None, dataset, target)
        progress(0.6, "the same length of silence")
        silence = score(np.zeros_like(samples), None, dataset, target)
        words = catalog.words(dataset)
        progress(0.8, f"the same {words.text} in {words.other}")
        heard = Clip("upload", Path("upload"), result["generated_text"], task=catalog.task(dataset))
        voice, note = _other_voice(samples, heard, words, dataset, target, score)
    except InputError as error:
        return {"error": str(error)}
    found = {"dataset": dataset, "target": target, "seconds": round(len(samples) / SAMPLE_RATE, 2)}
    return {
        **found,
        "sentence": sentence(result),
        "clip": result,
        "silence": silence,
        "voice": voice,
        "voice_note": note,
    }


def _other_voice(
    samples: np.ndarray, heard: Clip, words: Words, dataset: str, target: str, score: Scorer
) -> tuple[dict[str, Any] | None, str]:
    """Score what the model wrote, resynthesised as the dataset's clips are; or say why not."""
    if not (heard.text or "").strip():
        return None, f"The model wrote nothing, so there is nothing to make {words.other} of."
    try:
        made = render("resynthesis", heard, samples, 0, text=heard.text)
    except InputError as error:
        return None, f"It could not be made into {words.other}: {error}."
    return score(made, None, dataset, target), ""


def known_scores(catalog: Catalog, dataset: str, target: str) -> dict[str, list]:
    """Scores of the known clips on original audio, for the histogram: `scores` in (0, 1) and `labels`."""
    key = {"dataset": dataset, "target": target, "condition": "original", "scored_text": "generated"}
    table = catalog.bundle.stored("scores").part(["mia_score", "label"], **key).to_pandas()
    kept = table[table["mia_score"].notna()]
    return {"scores": kept["mia_score"].round(4).astype(float).tolist(), "labels": kept["label"].astype(int).tolist()}


def example_path(catalog: Catalog, dataset: str, label: int) -> Path:
    """First clip of a class, in the dataset's own order, whose audio is in the bundle.

    Raises
    ------
    InputError
        If the bundle holds no audio of that class.
    """
    from precompute.bundle import audio_file

    clips = catalog.bundle.clips
    for clip_id in clips[(clips["dataset"] == dataset) & (clips["label"] == label)]["clip_id"]:
        path = audio_file(catalog.bundle.path, clip_id)
        if path.is_file():
            return path
    raise InputError("This bundle holds no audio of that class, so there is no example to take.")


def something_else(seconds: float = 2.5) -> tuple[int, np.ndarray]:
    """Make a chord that swells and fades, unlike any dataset: rate in Hz and int16 samples."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    chord = sum(np.sin(2 * np.pi * hertz * time) / 3 for hertz in (220.0, 277.2, 329.6))
    swell = np.sin(np.pi * time / seconds) ** 2
    return SAMPLE_RATE, (0.5 * 32767 * chord * swell).astype(np.int16)
