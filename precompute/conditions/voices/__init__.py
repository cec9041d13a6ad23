"""Reference voices: who speaks a transcript when a clip's own voice is to be taken away.

Three voices per language, as far apart in pitch and formants as the engines allow (measured medians of F0:
flite slt 168, rms 103, awb 126 Hz; espeak-ng f2 190, m3 105, Andrea 244 Hz). Both engines give the same
bits every time, so a rendering is determined by text, voice and engine version.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from precompute.clips import SAMPLE_RATE, resample
from precompute.conditions.voices import espeak_ng, flite

ENGINES: dict[str, ModuleType] = {"espeak-ng": espeak_ng, "flite": flite}
"""Engine name to the module with its ``speak``, ``version`` and ``PACKAGE``."""


@dataclass(frozen=True)
class Voice:
    """A voice of one engine.

    Parameters
    ----------
    engine : str
        Key of `ENGINES`.
    name : str
        What the engine calls it.
    options : tuple of str
        Further arguments for the engine.
    """

    engine: str
    name: str
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.engine, self.name, *self.options))


def espeak_voices(language: str) -> tuple[Voice, ...]:
    """Three espeak-ng variants of a language: middle, low and high.

    The male variants differ little in F0 by themselves, so the pitch is set too.
    """
    return (
        Voice("espeak-ng", f"{language}+f2", ("-p", "55")),
        Voice("espeak-ng", f"{language}+m3", ("-p", "30")),
        Voice("espeak-ng", f"{language}+Andrea"),
    )


REFERENCE_VOICES: dict[str, tuple[Voice, ...]] = {
    "en": (Voice("flite", "slt"), Voice("flite", "rms"), Voice("flite", "awb")),
    "es": espeak_voices("es"),
    "fr": espeak_voices("fr"),
    "it": espeak_voices("it"),
    "ru": espeak_voices("ru"),
}
"""ISO 639-1 code to the voices of its realizations 0, 1 and 2."""

UNKNOWN_LANGUAGE = espeak_voices("en")
"""Where the language is not stated, or espeak-ng has no voice for it: its own default language, since
unlike flite it reads letters of any script."""


def reference_voices(language: str | None) -> tuple[Voice, ...]:
    """Give the three reference voices of a language.

    Parameters
    ----------
    language : str or None
        ISO 639-1 code, a region may follow (``fr-CA``).

    Returns
    -------
    tuple of 3 Voice
        From `REFERENCE_VOICES`, else espeak-ng in that language, else `UNKNOWN_LANGUAGE`.
    """
    code = (language or "").replace("_", "-").split("-")[0].strip().casefold()
    if code in REFERENCE_VOICES:
        return REFERENCE_VOICES[code]
    if code.isalpha() and espeak_ng.speaks(code):
        return espeak_voices(code)
    return UNKNOWN_LANGUAGE


def speak(text: str, voice: Voice) -> np.ndarray:
    """Speak a text in a voice.

    Parameters
    ----------
    text : str
    voice : Voice

    Returns
    -------
    np.ndarray [shape=(n,)], float32
        Mono audio at `SAMPLE_RATE`, at the level the engine gives; equal text and voice, equal samples.

    Raises
    ------
    InputError
        If the engine is not installed (naming the Debian package) or writes no audio for this text.
    """
    samples, rate = ENGINES[voice.engine].speak(text, voice.name, voice.options)
    return resample(samples, rate, SAMPLE_RATE)


def versions() -> dict[str, str]:
    """Versions of the installed engines, for an audit's record; engines that are missing raise `InputError`."""
    return {name: engine.version() for name, engine in ENGINES.items()}
