"""Planted truth: which clips an embedded target was really trained on.

Only targets of our own making have one; for any other target nothing is known and nothing is claimed.
"""

from __future__ import annotations

import json
from pathlib import Path

from precompute.clips import Clip
from precompute.corpora import core_sounds


def training_half(folder: Path | None) -> str | None:
    """Half of the embedded speech that a target folder says it was trained on.

    Parameters
    ----------
    folder : Path or None
        The target's folder; ``recipe.json`` inside was written by ``precompute train``.

    Returns
    -------
    str or None
        ``A`` or ``B``; None where the folder is no embedded target's or used another split than the published one.
    """
    recipe = None if folder is None else folder / "recipe.json"
    if recipe is None or not recipe.is_file():
        return None
    values = json.loads(recipe.read_text())
    return values["half"] if values["split_seed"] == core_sounds.SPLIT_SEED else None


def trained_on(clip: Clip, half: str | None) -> bool | None:
    """Whether a target trained on `half` saw this clip.

    Parameters
    ----------
    clip : Clip
    half : str or None
        From `training_half`.

    Returns
    -------
    bool or None
        None where the target's training data, or the clip's origin, is not known.
    """
    if half is None or not clip.clip_id.startswith("core-sounds/"):
        return None
    return core_sounds.half_of().get(clip.clip_id) == half
