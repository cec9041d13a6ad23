"""Synthetic sound scenes with captions: a stand-in for Clotho that needs no download and whose truth is planted.

Scenes of four seconds are computed here, from `scene_sounds` and the words of `scene_words`. They are SYNTHETIC:
they exercise the captioning path of an audit and say nothing about real recordings. Halves A and B are random within
the kind of sound that leads a scene; an embedded target is trained on half A. Everything follows from `SPLIT_SEED`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from precompute.clips import SAMPLE_RATE, Clip, Cohort
from precompute.corpora.core_sounds import SPLIT_SEED, normalise
from precompute.corpora.home import made_once
from precompute.corpora.scene_sounds import BACKGROUNDS, COUNTED, HAPPENINGS, n_samples
from precompute.corpora.scene_words import Event, Scene, describe, understand

VERSION = 1
"""Raised when the same numbers would give other scenes: then they are rendered again, into another folder."""

KINDS = (*BACKGROUNDS, *HAPPENINGS)
PER_KIND = 58
"""Scenes led by each kind; half of them are in each half."""

SECONDS = 4.0
LEVEL = 0.05
"""Root mean square of a scene at full scale 1, before the annotator's microphone adds up to 3 dB either way."""

LICENCE = "Apache-2.0"
ATTRIBUTION = "rendered by this project"


@dataclass(frozen=True)
class Captioned:
    """A scene with its number, the kind that leads it, and what the annotator wrote."""

    number: int
    kind: str
    scene: Scene
    caption: str


def draw_event(rng: np.random.Generator, kind: str) -> Event:
    """Draw what a sound of this kind is like, and how often it happens."""
    _, manners = (BACKGROUNDS | HAPPENINGS)[kind]
    how = manners[rng.integers(len(manners))]
    return Event(kind, how, int(rng.integers(1, 5)) if kind in COUNTED else 1)


def draw_scene(rng: np.random.Generator, lead: str) -> Scene:
    """Draw a scene of one to three sounds, all of different kinds.

    Parameters
    ----------
    rng : np.random.Generator
    lead : str
        The kind that is in it for certain.

    Returns
    -------
    Scene
    """
    others = [kind for kind in HAPPENINGS if kind != lead]
    size = int(rng.choice([1, 2, 3], p=[0.2, 0.5, 0.3]))
    picked = [str(kind) for kind in rng.choice(others, size - 1, replace=False)]
    if lead in BACKGROUNDS:
        return Scene(draw_event(rng, lead), tuple(draw_event(rng, kind) for kind in picked))
    background = None
    if size == 3 or (size == 2 and rng.random() < 0.5):
        background = draw_event(rng, str(rng.choice(list(BACKGROUNDS))))
        picked = picked[:-1]
    events = [draw_event(rng, kind) for kind in (lead, *picked)]
    return Scene(background, tuple(events[i] for i in rng.permutation(len(events))))


def captioned_scenes(seed: int = SPLIT_SEED, per_kind: int = PER_KIND) -> tuple[Captioned, ...]:
    """Draw every scene and its caption, no wording twice.

    Parameters
    ----------
    seed : int
    per_kind : int
        Scenes led by each kind.

    Returns
    -------
    tuple of Captioned
        In the order of their numbers; the kinds take turns.
    """
    drawn: dict[str, Captioned] = {}
    for number in range(per_kind * len(KINDS)):
        kind = KINDS[number % len(KINDS)]
        rng = np.random.default_rng([seed, number, 0])
        while True:
            scene = draw_scene(rng, kind)
            caption = describe(scene, rng)
            if normalise(caption) not in drawn:
                break
        drawn[normalise(caption)] = Captioned(number, kind, scene, caption)
    return tuple(drawn.values())


def render(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Compute what a scene sounds like.

    Parameters
    ----------
    scene : Scene
    rng : np.random.Generator
        Decides everything that the scene leaves open.

    Returns
    -------
    np.ndarray [shape=(SECONDS * SAMPLE_RATE,)], float32
    """
    mix = 1e-3 * rng.standard_normal(n_samples(SECONDS))
    if scene.background is not None:
        mix += (0.25 if scene.events else 1.0) * _sound(rng, scene.background, SECONDS)
    room = (SECONDS - 0.3) / max(1, len(scene.events))
    for turn, event in enumerate(scene.events):
        begin = n_samples(turn * room + rng.uniform(0.05, 0.3))
        heard = _sound(rng, event, room - 0.1)
        mix[begin : begin + len(heard)] += heard
    mix *= LEVEL * 10 ** (rng.uniform(-3, 3) / 20) / np.sqrt(np.mean(mix**2))
    return (mix * min(1.0, 0.98 / np.abs(mix).max())).astype(np.float32)


def _sound(rng: np.random.Generator, event: Event, seconds: float) -> np.ndarray:
    """One sound with a peak of 1, faded out over its last 50 ms so that it does not click."""
    make, _ = (BACKGROUNDS | HAPPENINGS)[event.kind]
    sound = make(rng, seconds, event.how, event.count)
    fade = n_samples(0.05)
    sound[-fade:] *= np.linspace(1, 0, fade)
    return sound / np.abs(sound).max()


def render_caption(caption: str, seed: int) -> np.ndarray:
    """Make a sound that a caption describes: the embedded text-to-audio engine for scenes.

    Parameters
    ----------
    caption : str
    seed : int
        Of everything the caption leaves open; another seed is another realization.

    Returns
    -------
    np.ndarray [shape=(SECONDS * SAMPLE_RATE,)], float32
        Mono at `SAMPLE_RATE`.

    Raises
    ------
    InputError
        If no known sound is named in the caption.
    """
    return render(understand(caption), np.random.default_rng([seed, VERSION, *caption.encode()]))


def render_number(scene: Captioned, seed: int = SPLIT_SEED) -> np.ndarray:
    """Audio of a numbered scene; its generator is not the annotator's, so that the wording cannot be heard."""
    return render(scene.scene, np.random.default_rng([seed, scene.number, 1]))


def _write_all(folder: Path) -> None:
    """Render every scene as 16-bit FLAC."""
    import soundfile

    for scene in captioned_scenes():
        soundfile.write(folder / f"{scene.number:04d}.flac", render_number(scene), SAMPLE_RATE, subtype="PCM_16")


def halves(seed: int = SPLIT_SEED) -> tuple[list[Clip], list[Clip]]:
    """Halves A and B, random within each leading kind; renders all scenes on first use.

    Parameters
    ----------
    seed : int
        Of the split; scenes and captions are always the published ones.

    Returns
    -------
    tuple of two lists of Clip
    """
    folder = made_once(f"scenes-v{VERSION}", _write_all)
    scenes = captioned_scenes()
    sides = _sides(seed)
    clips = [
        Clip(clip_id(s), folder / f"{s.number:04d}.flac", s.caption, group=s.kind, language="en", task="sound")
        for s in scenes
    ]
    return [c for c, side in zip(clips, sides, strict=True) if side == "A"], [
        c for c, side in zip(clips, sides, strict=True) if side == "B"
    ]


def clip_id(scene: Captioned) -> str:
    """Name a scene's clip."""
    return f"scenes/{scene.kind}-{scene.number:04d}"


def _sides(seed: int) -> list[str]:
    """Half of every scene, by number: as many of each kind in A as in B."""
    rng = np.random.default_rng([seed, 3])
    turns = np.stack([rng.permutation(PER_KIND) % 2 for _ in KINDS], axis=1)  # (turn, kind), as the kinds take turns
    return ["AB"[side] for side in turns.ravel()]


@functools.cache
def half_of() -> dict[str, str]:
    """Which training half each scene is in, ``A`` or ``B``, by clip_id; renders nothing."""
    return {clip_id(scene): side for scene, side in zip(captioned_scenes(), _sides(SPLIT_SEED), strict=True)}


def scenes() -> Cohort:
    """Half A against half B: a random split, so only training tells the classes apart."""
    half_a, half_b = halves()
    items = sorted([(c, 1) for c in half_a] + [(c, 0) for c in half_b], key=lambda pair: pair[0].clip_id)
    truth = (
        "A random split. Claimed members are half A, which tiny-audio-flamingo-sounds was trained on; the targets of "
        "the embedded speech saw neither half."
    )
    return Cohort(
        name="scenes",
        clips=tuple(clip for clip, _ in items),
        labels=tuple(label for _, label in items),
        title="Sound scenes with captions (SYNTHETIC), random halves",
        description=f"SYNTHETIC scenes of {SECONDS:.0f} s with one to three of {len(KINDS)} kinds of sound, captioned "
        f"by a simulated annotator whose choice of words cannot be heard. {truth}",
        licence=LICENCE,
        attribution=ATTRIBUTION,
        truth=truth,
    )


COHORTS = {"scenes": scenes}
"""The cohort by name."""
