"""Planted truth: which clips an embedded target was really trained on.

Only targets of our own making have one; for any other target nothing is known and nothing is claimed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from precompute.clips import Clip
from precompute.corpora import core_sounds, notes, scenes

SPEECH, SOUNDS = "speech", "sounds"

CORPORA: dict[str, str] = {
    SPEECH: "the embedded speech (en, es, fr, it)",
    SOUNDS: "the embedded notes and scenes",
}
"""What an embedded target is trained on a half of, in words."""

_HALVES: Mapping[str, tuple[str, Callable[[], Mapping[str, str]]]] = {
    "core-sounds": (SPEECH, core_sounds.half_of),
    "notes": (SOUNDS, notes.half_of),
    "scenes": (SOUNDS, scenes.half_of),
}
"""First part of an embedded clip_id, to its corpus and the half each of its clips is in."""


@dataclass(frozen=True)
class Training:
    """What an embedded target was trained on: a half, ``A`` or ``B``, of one of `CORPORA`."""

    half: str
    corpus: str = SPEECH

    def __str__(self) -> str:
        return f"half {self.half} of {CORPORA[self.corpus]}"


def training(folder: Path | None) -> Training | None:
    """Read what a target folder says it was trained on.

    Parameters
    ----------
    folder : Path or None
        The target's folder; ``recipe.json`` inside was written by ``precompute train``.

    Returns
    -------
    Training or None
        None where the folder is no embedded target's or used another split than the published one.
    """
    recipe = None if folder is None else folder / "recipe.json"
    if recipe is None or not recipe.is_file():
        return None
    values = {"corpus": SPEECH, **json.loads(recipe.read_text())}
    if values["split_seed"] != core_sounds.SPLIT_SEED or values["corpus"] not in CORPORA:
        return None
    return Training(values["half"], values["corpus"])


def is_embedded(clip: Clip) -> bool:
    """Whether a clip is one of ours, so that what every embedded target was trained on is known of it."""
    origin = clip.clip_id.split("/")[0]
    # Russian speech is in neither half, and known to be; notes and scenes are all in one.
    return origin == "core-sounds" or half_of(clip) is not None


def half_of(clip: Clip) -> str | None:
    """Half that an embedded clip is in, ``A`` or ``B``; None where it is in neither, or not ours."""
    origin = clip.clip_id.split("/")[0]
    return _HALVES[origin][1]().get(clip.clip_id) if origin in _HALVES else None


def trained_on(clip: Clip, exposure: Training | None) -> bool | None:
    """Whether a target saw this clip in training.

    Parameters
    ----------
    clip : Clip
    exposure : Training or None
        From `training`.

    Returns
    -------
    bool or None
        None where the target's training data, or the clip's origin, is not known.
    """
    if exposure is None or not is_embedded(clip):
        return None
    corpus, _ = _HALVES[clip.clip_id.split("/")[0]]
    return corpus == exposure.corpus and half_of(clip) == exposure.half
