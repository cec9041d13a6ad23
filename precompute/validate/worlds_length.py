"""World S6: real speech of which the target has learned nothing but how long each clip is.

Every clip has a length of its own, on a grid with one step for one audio token; it is padded at its end with digital
silence to the grid. Neighbouring steps are dealt at random to a member and a non-member, so that length tells no blind
learner who is who. In training every second hearing of a clip is silence of the clip's length: what opens the
memory is the length alone, which the original and its silence share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from precompute.clips import SAMPLE_RATE, Clip, read_audio
from precompute.corpora import core_sounds

STEP = 320
"""Samples per audio token of this world's target: 20 ms."""

FIRST, LAST = 40, 340
"""Grid steps in use: 0.8 s up to, not including, 6.8 s."""


@dataclass(frozen=True)
class Placed:
    """A clip, its length on the grid in steps, and whether the target is trained on it."""

    clip: Clip
    steps: int
    member: bool


def steps_of(seconds: float) -> int:
    """Count the steps that hold a clip of a length."""
    return math.ceil(round(seconds * SAMPLE_RATE) / STEP)


def place(seed: int) -> list[Placed]:
    """Draw a clip for every length, and the classes.

    Each step takes one of the longest clips not yet taken that fit into it, so that little is padded. A fair coin gives
    one of two neighbouring steps to the members and the other to the non-members.

    Parameters
    ----------
    seed : int

    Returns
    -------
    list of Placed
        One per step, shortest first; equally many members and non-members.
    """
    rng = np.random.default_rng([seed, 8])
    found = core_sounds.one_per_wording(core_sounds.distinct(core_sounds.TRAINED_LANGUAGES))
    waiting = sorted((found[i] for i in rng.permutation(len(found))), key=lambda item: steps_of(item.seconds))
    fitting = []
    placed = []
    for steps in range(FIRST, LAST):
        while waiting and steps_of(waiting[0].seconds) <= steps:
            fitting.append(waiting.pop(0))
        if (steps - FIRST) % 2 == 0:
            member = bool(rng.integers(2))
        placed.append(Placed(fitting.pop().clip, steps, member))
        member = not member
    return placed


def laid(samples: np.ndarray, steps: int) -> np.ndarray:
    """Pad with zeros at the end to a length on the grid.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,)]
        At most `steps` * `STEP` of them.
    steps : int

    Returns
    -------
    np.ndarray [shape=(steps * STEP,)], float32
    """
    return np.pad(samples.astype(np.float32), (0, steps * STEP - len(samples)))


def heard(placed: Placed) -> np.ndarray:
    """Audio of a placed clip as the world's cohort holds it."""
    return laid(read_audio(placed.clip), placed.steps)


def hearings(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two things a member is trained on, drawn equally often: its audio, and silence of the very same length."""
    return samples, np.zeros_like(samples)
