"""Where clips come from: embedded speech, notes and scenes, the paper's corpora, the hub, and a user's own lists."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from precompute.clips import Cohort, InputError
from precompute.corpora import core_sounds, hub, notes, scenes
from precompute.corpora.paper import CORPORA

EMBEDDED = {**core_sounds.COHORTS, **notes.COHORTS, **scenes.COHORTS}
"""Embedded cohorts by name; each value is a function that draws the cohort."""


def find_cohorts(
    name: str, seed: int = 0, per_class: int | None = None, columns: Mapping[str, str] | None = None
) -> list[Cohort]:
    """Resolve a ``--dataset`` argument.

    Parameters
    ----------
    name : str
        Name of an embedded cohort; one of the paper's corpora, ``CORPUS=FOLDER`` for its original distribution, or
        ``hf:owner/name?...`` (see `precompute.corpora.hub`); or path of a manifest or of a folder of clips.
    seed : int
        Of the draw from a corpus larger than what is wanted.
    per_class : int or None
        Clips per class to draw from such a corpus; None takes its own number. The others come whole, see `limited`.
    columns : mapping of str to str or None
        What a list calls our columns, where it has other names for them.

    Returns
    -------
    list of Cohort
        One, or one per value of a manifest's ``dataset`` column.

    Raises
    ------
    InputError
        If it is none of these, or cannot be read.
    """
    if name in EMBEDDED:
        return [EMBEDDED[name]()]
    if hub.handles(name):
        return hub.find(name, seed, per_class)
    if Path(name).exists():
        from precompute.manifest import load_manifest

        return load_manifest(Path(name), columns)
    raise InputError(
        f"no such dataset: {name} is neither a list of clips, nor embedded ({', '.join(EMBEDDED)}), nor one of "
        f"{', '.join(CORPORA)}, nor hf:owner/name"
    )


def limited(cohort: Cohort, per_class: int | None, seed: int) -> Cohort:
    """Keep a seeded part of each class.

    Clips are ranked by a hash of seed and clip_id, so cohorts that share clips keep shared ones.

    Parameters
    ----------
    cohort : Cohort
    per_class : int or None
        None keeps everything.
    seed : int

    Returns
    -------
    Cohort
    """
    if per_class is None:
        return cohort
    ranks = np.array([hashlib.sha256(f"{seed}:{clip.clip_id}".encode()).hexdigest() for clip in cohort.clips])
    labels = cohort.label_array
    keep = np.sort(
        np.concatenate([(rows := np.flatnonzero(labels == k))[np.argsort(ranks[rows])[:per_class]] for k in (0, 1)])
    )
    return dataclasses.replace(
        cohort, clips=tuple(cohort.clips[i] for i in keep), labels=tuple(cohort.labels[i] for i in keep)
    )
