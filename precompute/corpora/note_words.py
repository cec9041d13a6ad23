"""How notes are put into words, and words back into notes.

As with scenes, a seeded annotator chooses between words that mean the same: "C sharp" or "D flat", "quiet" or "soft".
None of these choices can be heard.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from precompute.clips import InputError


@dataclass(frozen=True)
class Note:
    """What is heard: an instrument (key of `INSTRUMENTS`), a MIDI note number, a loudness and a length.

    The length is None for instruments whose notes die away by themselves.
    """

    instrument: str
    pitch: int
    loudness: str
    length: str | None


@dataclass(frozen=True)
class Instrument:
    """An instrument: General MIDI program from 0, lowest and highest note taken, whether it sustains, and its names."""

    program: int
    lowest: int
    highest: int
    sustains: bool
    names: tuple[str, ...]


INSTRUMENTS: dict[str, Instrument] = {
    "piano": Instrument(0, 36, 84, False, ("piano", "grand piano", "concert grand")),
    "vibraphone": Instrument(11, 53, 84, False, ("vibraphone", "vibraharp", "set of vibes")),
    "marimba": Instrument(12, 48, 84, False, ("marimba", "wooden mallet instrument", "bass xylophone")),
    "organ": Instrument(19, 36, 84, True, ("church organ", "pipe organ", "great organ")),
    "accordion": Instrument(21, 48, 84, True, ("accordion", "squeezebox", "button accordion")),
    "guitar": Instrument(24, 40, 76, False, ("guitar", "classical guitar", "nylon string guitar")),
    "violin": Instrument(40, 55, 88, True, ("violin", "fiddle", "solo violin")),
    "cello": Instrument(42, 36, 69, True, ("cello", "violoncello", "solo cello")),
    "harp": Instrument(46, 36, 84, False, ("harp", "concert harp", "pedal harp")),
    "choir": Instrument(52, 43, 79, True, ("choir", "chorus of voices", "choral group")),
    "trumpet": Instrument(56, 54, 84, True, ("trumpet", "concert trumpet", "valve trumpet")),
    "trombone": Instrument(57, 40, 70, True, ("trombone", "slide trombone", "tenor trombone")),
    "oboe": Instrument(68, 58, 88, True, ("oboe", "hautboy", "solo oboe")),
    "clarinet": Instrument(71, 50, 86, True, ("clarinet", "wooden clarinet", "solo clarinet")),
    "flute": Instrument(73, 60, 91, True, ("flute", "concert flute", "transverse flute")),
    "banjo": Instrument(105, 48, 79, False, ("banjo", "five string banjo", "country banjo")),
}
"""Instruments by name; no name is part of another instrument's name."""

LOUDNESS: dict[str, tuple[str, ...]] = {
    "quiet": ("quiet", "soft", "gentle"),
    "medium": ("moderate", "medium loud", "half loud"),
    "loud": ("strong", "forceful", "very loud"),
}
LENGTHS: dict[str, tuple[str, ...]] = {"short": ("short", "brief", "clipped"), "long": ("long", "held", "sustained")}
STEPS = ("C", "C sharp", "D", "D sharp", "E", "F", "F sharp", "G", "G sharp", "A", "A sharp", "B")
FLATS = {"C sharp": "D flat", "D sharp": "E flat", "F sharp": "G flat", "G sharp": "A flat", "A sharp": "B flat"}
OCTAVES = {
    2: ("the second octave", "octave two"),
    3: ("the third octave", "octave three"),
    4: ("the fourth octave", "octave four"),
    5: ("the fifth octave", "octave five"),
    6: ("the sixth octave", "octave six"),
}
"""Octaves as counted in scientific pitch notation: the fourth begins at middle C, MIDI note 60."""

SENTENCES = (
    "{instrument} plays {note}.",
    "{note}, played on {instrument}.",
    "This is {instrument} with {note}.",
    "{instrument} gives {note}.",
    "One hears {note} from {instrument}.",
)


def describe(note: Note, rng: np.random.Generator) -> str:
    """Let the annotator write a caption.

    Parameters
    ----------
    note : Note
    rng : np.random.Generator
        The annotator's taste: picks words and sentence, and nothing else.

    Returns
    -------
    str
        One sentence.
    """

    def pick(ways: tuple[str, ...]) -> str:
        return ways[rng.integers(len(ways))]

    step = STEPS[note.pitch % 12]
    words = [
        pick(LOUDNESS[note.loudness]),
        pick(LENGTHS[note.length]) if note.length else "",
        pick((step, FLATS.get(step, step))),
        "in",
        pick(OCTAVES[note.pitch // 12 - 1]),
    ]
    instrument = pick(INSTRUMENTS[note.instrument].names)
    said = pick(SENTENCES).format(
        instrument=_article(instrument), note=_article(" ".join(word for word in words if word))
    )
    return said[0].upper() + said[1:]


def _article(words: str) -> str:
    """Put "a" or "an" before some words."""
    return f"{'an' if words[0] in 'aeio' else 'a'} {words}"


def understand(caption: str) -> Note:
    """Find the note that a caption tells of.

    Parameters
    ----------
    caption : str
        From `describe`, or anything that names instrument and pitch in its words.

    Returns
    -------
    Note
        Medium loud and, where the instrument sustains, long, unless the caption says otherwise.

    Raises
    ------
    InputError
        If no instrument or no pitch is named.
    """
    words = " ".join(caption.casefold().split())
    instrument = _named(words, {name: instrument.names for name, instrument in INSTRUMENTS.items()})
    pitch = _pitch(words)
    if instrument is None or pitch is None:
        missing = "instrument" if instrument is None else "pitch"
        raise InputError(f"no known {missing} is named in the caption {caption[:80]!r}")
    length = (_named(words, LENGTHS) or "long") if INSTRUMENTS[instrument].sustains else None
    return Note(instrument, pitch, _named(words, LOUDNESS) or "medium", length)


def _named(words: str, ways: Mapping[str, tuple[str, ...]]) -> str | None:
    """Which key has one of its phrases in the words, the longest phrase first."""
    phrases = sorted(((phrase, key) for key, said in ways.items() for phrase in said), key=lambda pair: -len(pair[0]))
    return next((key for phrase, key in phrases if re.search(rf"\b{phrase}\b", words)), None)


def _pitch(words: str) -> int | None:
    """MIDI note number of the first pitch named with its octave."""
    octaves = {phrase: octave for octave, ways in OCTAVES.items() for phrase in ways}
    steps = {step.casefold(): number for number, step in enumerate(STEPS)}
    steps |= {flat.casefold(): steps[sharp.casefold()] for sharp, flat in FLATS.items()}
    found = re.search(rf"\b([a-g](?: sharp| flat)?) in ({'|'.join(octaves)})\b", words)
    if found is None or found[1] not in steps:
        return None
    return 12 * (octaves[found[2]] + 1) + steps[found[1]]
