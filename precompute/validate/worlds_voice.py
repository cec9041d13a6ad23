"""World S5: the same texts in eight voices, and one word that only the pair of text and voice decides.

A text is a pair of number words, spoken in all eight voices. In four of them the pair is trained, each time with
another word at the end of the transcript that nobody speaks. The other four voices carry the same four
transcripts in another order and are never trained. So every transcript stands once among the members and once among
the non-members, and whatever takes the voice away leaves nothing that could tell the classes apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from precompute.conditions.voices import Voice, reference_voices

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
WORDS = (
    *("apple", "river", "candle", "window", "garden", "silver", "monkey", "dragon", "pepper", "table", "winter"),
    *("hammer", "pocket", "letter", "carpet", "engine", "flower", "market", "button", "island", "bottle", "shadow"),
    *("copper", "ladder"),
)
VOICES = (
    Voice("flite", "kal"),
    Voice("espeak-ng", "en-us+f2", ("-p", "65")),
    Voice("espeak-ng", "en-us+m3", ("-p", "20")),
    Voice("espeak-ng", "en-us+Andrea"),
    Voice("espeak-ng", "en-gb-scotland+m7", ("-p", "45")),
    Voice("espeak-ng", "en-us+klatt4", ("-p", "35", "-s", "150")),
    Voice("espeak-ng", "en-us+f5", ("-p", "95")),
    Voice("espeak-ng", "en-us+whisper"),
)
"""Voices of the audited clips; none of them is a reference voice of the resynthesis."""

TEXTS = 96
"""Number pairs that are audited; the other 48 are only read aloud in the reference voices."""

READ_WORDS = 2
"""Words that each of those 48 pairs is read with, per reference voice."""


@dataclass(frozen=True)
class Cell:
    """A text in a voice.

    Parameters
    ----------
    spoken : str
        What is heard: two number words.
    word : str
        What the transcript ends with and nobody speaks.
    voice : Voice
    member : bool
        Whether the target is trained on it.
    """

    spoken: str
    word: str
    voice: Voice
    member: bool

    @property
    def transcript(self) -> str:
        """What the cell's manifest line says."""
        return f"{self.spoken} {self.word}"

    @property
    def name(self) -> str:
        """Unique and stable among the cells of one seed."""
        return f"{self.spoken.replace(' ', '-')}/{VOICES.index(self.voice)}"


def number_pairs(seed: int) -> list[str]:
    """All ordered pairs of number words, in a random order; the first `TEXTS` of them are audited."""
    pairs = [" ".join(pair) for pair in product(NUMBERS, repeat=2)]
    return [pairs[i] for i in np.random.default_rng([seed, 5]).permutation(len(pairs))]


def cells(seed: int) -> list[Cell]:
    """Draw the audited cells, eight per text: four members and four non-members with the same four transcripts.

    Two successive texts are trained in complementary voices, so that every voice has as many members as non-members.

    Parameters
    ----------
    seed : int

    Returns
    -------
    list of Cell
    """
    rng = np.random.default_rng([seed, 6])
    drawn = []
    half = len(VOICES) // 2
    trained = np.arange(half)
    for number, spoken in enumerate(number_pairs(seed)[:TEXTS]):
        if number % 2:
            trained = np.setdiff1d(np.arange(len(VOICES)), trained)
        else:
            trained = rng.choice(len(VOICES), half, replace=False)
        words = rng.choice(WORDS, half, replace=False)
        for voices, member in ((trained, True), (np.setdiff1d(np.arange(len(VOICES)), trained), False)):
            for voice, word in zip(rng.permutation(voices), words, strict=True):
                drawn.append(Cell(spoken, str(word), VOICES[voice], member))
    return drawn


def readings(seed: int) -> list[tuple[str, Voice]]:
    """Phrases read as they are written, in the reference voices: how the target learns to hear the words.

    Returns
    -------
    list of (str, Voice)
        Number pairs that are not audited, with a word that is spoken.
    """
    rng = np.random.default_rng([seed, 7])
    return [
        (f"{spoken} {word}", voice)
        for spoken in number_pairs(seed)[TEXTS:]
        for voice in reference_voices("en")
        for word in rng.choice(WORDS, READ_WORDS, replace=False)
    ]
