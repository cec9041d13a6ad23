"""Single instrument notes with captions: a stand-in for NSynth that needs no download and whose truth is planted.

FluidSynth plays them from Debian's TimGM6mb soundfont. Halves A and B are random within each instrument; an embedded
target is trained on half A. No instrument plays the same pitch, as loud and as long, twice, so no note of one half is
a copy of one in the other. Everything follows from `SPLIT_SEED`.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from precompute.clips import SAMPLE_RATE, Clip, Cohort
from precompute.corpora.core_sounds import SPLIT_SEED
from precompute.corpora.fluidsynth import Played, play
from precompute.corpora.home import made_once
from precompute.corpora.note_words import INSTRUMENTS, LENGTHS, LOUDNESS, Note, describe, understand

VERSION = 1
"""Raised when the same numbers would give other notes: then they are rendered again, into another folder."""

PER_INSTRUMENT = 50
"""Notes of each instrument; half of them are in each half."""

SECONDS = 3.0
VELOCITIES = {"quiet": (28, 48), "medium": (68, 86), "loud": (108, 127)}
HOLDS = {"short": (0.25, 0.4), "long": (1.8, 2.3), None: (1.5, 2.3)}
"""Seconds that a key is held, by the note's length."""

LICENCE = "GPL-2.0 (the soundfont TimGM6mb; the audio is rendered on this machine and no part of this repository)"
ATTRIBUTION = (
    "rendered by this project with FluidSynth from TimGM6mb by Tim Brechbill and David Bolton, "
    "packaged by Debian as timgm6mb-soundfont"
)


@dataclass(frozen=True)
class Captioned:
    """A note with its number and what the annotator wrote."""

    number: int
    note: Note
    caption: str


def captioned_notes(seed: int = SPLIT_SEED, per_instrument: int = PER_INSTRUMENT) -> tuple[Captioned, ...]:
    """Draw every note and its caption, no note twice.

    Parameters
    ----------
    seed : int
    per_instrument : int

    Returns
    -------
    tuple of Captioned
        In the order of their numbers, instrument by instrument.
    """
    rng = np.random.default_rng([seed, 10])
    notes: list[Note] = []
    for name, instrument in INSTRUMENTS.items():
        pitches = range(instrument.lowest, instrument.highest + 1)
        lengths = tuple(LENGTHS) if instrument.sustains else (None,)
        possible = list(itertools.product(pitches, LOUDNESS, lengths))
        picked = rng.choice(len(possible), per_instrument, replace=False)
        notes += [Note(name, *possible[i]) for i in picked]
    return tuple(Captioned(number, note, describe(note, rng)) for number, note in enumerate(notes))


def playing(note: Note, rng: np.random.Generator) -> Played:
    """Draw how a note is played: what its caption leaves open.

    Parameters
    ----------
    note : Note
    rng : np.random.Generator

    Returns
    -------
    Played
        Never off the tuning by more than 12 cents.
    """
    softest, loudest = VELOCITIES[note.loudness]
    return Played(
        program=INSTRUMENTS[note.instrument].program,
        pitch=note.pitch,
        velocity=int(rng.integers(softest, loudest + 1)),
        onset=rng.uniform(0.02, 0.3),
        hold=rng.uniform(*HOLDS[note.length]),
        cents=rng.uniform(-12, 12),
    )


def render(notes: list[Played]) -> list[np.ndarray]:
    """Play notes for `SECONDS` each, faded out over the last 50 ms so that a cut does not click.

    Parameters
    ----------
    notes : list of Played

    Returns
    -------
    list of np.ndarray [shape=(SECONDS * SAMPLE_RATE,)], float32
    """
    fade = np.ones(round(SECONDS * SAMPLE_RATE), dtype=np.float32)
    fade[-round(0.05 * SAMPLE_RATE) :] = np.linspace(1, 0, round(0.05 * SAMPLE_RATE))
    return [samples * fade for samples in play(notes, SECONDS)]


def render_caption(caption: str, seed: int) -> np.ndarray:
    """Play a note that a caption describes: the embedded text-to-audio engine for notes.

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
        If the caption names no known instrument or no pitch, or FluidSynth is not installed.
    """
    rng = np.random.default_rng([seed, VERSION, *caption.encode()])
    return render([playing(understand(caption), rng)])[0]


def numbered(note: Captioned, seed: int = SPLIT_SEED) -> Played:
    """How a numbered note is played; its generator is not the annotator's, so that the wording cannot be heard."""
    return playing(note.note, np.random.default_rng([seed, 11, note.number]))


def _write_all(folder: Path) -> None:
    """Render every note as 16-bit FLAC."""
    import soundfile

    notes = captioned_notes()
    for note, samples in zip(notes, render([numbered(note) for note in notes]), strict=True):
        soundfile.write(folder / f"{note.number:04d}.flac", samples, SAMPLE_RATE, subtype="PCM_16")


def halves(seed: int = SPLIT_SEED) -> tuple[list[Clip], list[Clip]]:
    """Halves A and B, random within each instrument; renders all notes on first use.

    Parameters
    ----------
    seed : int
        Of the split; notes and captions are always the published ones.

    Returns
    -------
    tuple of two lists of Clip
    """
    folder = made_once(f"notes-v{VERSION}", _write_all)
    result: tuple[list[Clip], list[Clip]] = ([], [])
    for note, side in zip(captioned_notes(), _sides(seed), strict=True):
        path, group = folder / f"{note.number:04d}.flac", note.note.instrument
        clip = Clip(clip_id(note), path, note.caption, group=group, language="en", task="music")
        result["AB".index(side)].append(clip)
    return result


def clip_id(note: Captioned) -> str:
    """Name a note's clip."""
    return f"notes/{note.note.instrument}-{note.number:04d}"


def _sides(seed: int) -> list[str]:
    """Half of every note, by number: as many of each instrument in A as in B."""
    rng = np.random.default_rng([seed, 12])
    return ["AB"[side] for _ in INSTRUMENTS for side in rng.permutation(PER_INSTRUMENT) % 2]


@functools.cache
def half_of() -> dict[str, str]:
    """Which training half each note is in, ``A`` or ``B``, by clip_id; renders nothing."""
    return {clip_id(note): side for note, side in zip(captioned_notes(), _sides(SPLIT_SEED), strict=True)}


def notes() -> Cohort:
    """Half A against half B: a random split, so only training tells the classes apart."""
    half_a, half_b = halves()
    items = sorted([(c, 1) for c in half_a] + [(c, 0) for c in half_b], key=lambda pair: pair[0].clip_id)
    truth = (
        "A random split. Claimed members are half A, which tiny-audio-flamingo-sounds was trained on; the targets of "
        "the embedded speech saw neither half."
    )
    return Cohort(
        name="notes",
        clips=tuple(clip for clip, _ in items),
        labels=tuple(label for _, label in items),
        title="Instrument notes with captions (SYNTHETIC), random halves",
        description=f"SYNTHETIC: single notes of {SECONDS:.0f} s by {len(INSTRUMENTS)} sampled instruments, captioned "
        f"by a simulated annotator whose choice of words cannot be heard. {truth}",
        licence=LICENCE,
        attribution=ATTRIBUTION,
        truth=truth,
    )


COHORTS = {"notes": notes}
"""The cohort by name."""
