"""Reference voices: who speaks a transcript when a clip's own voice is to be taken away.

Embedded, three voices per language, as far apart in pitch and formants as the engines allow (measured medians of F0:
flite slt 168, rms 103, awb 126 Hz; espeak-ng f2 190, m3 105, Andrea 244 Hz). Both engines give the same
bits every time, so a rendering is determined by text, voice and engine version. A `Studio` opens larger engines.
"""

from __future__ import annotations

import numpy as np

from precompute.conditions.voices import espeak_ng
from precompute.conditions.voices.base import Engine, EngineFailed, Kind, Reference, Voice
from precompute.conditions.voices.studio import ENGINES, Studio

__all__ = [
    "ENGINES",
    "REFERENCE_VOICES",
    "UNKNOWN_LANGUAGE",
    "Engine",
    "EngineFailed",
    "Kind",
    "Reference",
    "Studio",
    "Voice",
    "espeak_voices",
    "language_code",
    "reference_voices",
    "speak",
    "versions",
]

EMBEDDED = ("espeak-ng", "flite")
"""Engines that speak without a model to download."""


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
    code = language_code(language)
    if code in REFERENCE_VOICES:
        return REFERENCE_VOICES[code]
    if code.isalpha() and espeak_ng.speaks(code):
        return espeak_voices(code)
    return UNKNOWN_LANGUAGE


def language_code(language: str | None) -> str:
    """Fold a language tag to its ISO 639-1 code: ``fr`` for ``FR_ca``, empty for None."""
    return (language or "").replace("_", "-").split("-")[0].strip().casefold()


def speak(text: str, voice: Voice) -> np.ndarray:
    """Speak one text in a voice, with a studio opened for it alone; see `Studio.speak`."""
    with Studio() as studio:
        return studio.speak(text, voice)


def versions() -> dict[str, str]:
    """Versions of the embedded engines, for an audit's record; engines that are missing raise `InputError`."""
    with Studio() as studio:
        return {name: studio.identity(Voice(name))["engine"] for name in EMBEDDED}
