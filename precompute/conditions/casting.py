"""Casting: what resynthesises a clip, by its task and its language, as named on the command line."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from precompute.clips import Clip, InputError
from precompute.conditions.voices import REFERENCE_VOICES, espeak_voices, language_code, reference_voices
from precompute.conditions.voices.base import Reference, Voice, derived_seed
from precompute.conditions.voices.references import VOICES, for_language, librispeech, read_references
from precompute.conditions.voices.studio import ENGINES, open_engine

REALIZATIONS = VOICES
"""Resyntheses of every clip."""


RENDERED = Voice("rendered")
"""What renders captions unless another engine is named."""


@dataclass(frozen=True)
class Casting:
    """Who resynthesises clips.

    Parameters
    ----------
    speech : Voice or None
        Engine that speaks transcripts, and where it is; None for the embedded voices of the clip's language.
    sound : Voice
        Engine that renders captions of sound and music.
    references : tuple of Reference
        Recordings whose voices the speech engine borrows.
    """

    speech: Voice | None = None
    sound: Voice = RENDERED
    references: tuple[Reference, ...] = ()

    def voices(self, clip: Clip, seed: int = 0) -> tuple[Voice, ...]:
        """Cast one clip.

        Parameters
        ----------
        clip : Clip
            Its task and language are read.
        seed : int
            Of the audit; the seeds of the realizations come from it.

        Returns
        -------
        tuple of `REALIZATIONS` Voice
            Another reference voice each where there are enough, and another seed each in any case.
        """
        if clip.task != "speech":
            return self._captions(clip.task, seed)
        if self.speech is None:
            return reference_voices(clip.language)
        if self.speech.engine == "espeak-ng":
            embedded = reference_voices(clip.language)
            return embedded if embedded[0].engine == "espeak-ng" else espeak_voices(language_code(clip.language))
        if self.speech.engine == "flite":
            return REFERENCE_VOICES["en"]
        chosen = for_language(self.references, language_code(clip.language))
        return tuple(
            dataclasses.replace(
                self.speech,
                name=chosen[index % len(chosen)].name,
                reference=chosen[index % len(chosen)],
                seed=derived_seed(seed, index),
            )
            for index in range(REALIZATIONS)
        )

    def _captions(self, task: str, seed: int) -> tuple[Voice, ...]:
        """Three seeds of the caption engine; the embedded one has to be told whether it is sound or music."""
        name = task if self.sound.engine == "rendered" else ""
        return tuple(
            dataclasses.replace(self.sound, name=name, seed=derived_seed(seed, index)) for index in range(REALIZATIONS)
        )

    def parallel(self, clip: Clip) -> bool:
        """Whether several threads may resynthesise clips like this one at once."""
        if clip.task != "speech":
            return ENGINES[self.sound.engine].parallel
        return self.speech is None or ENGINES[self.speech.engine].parallel

    def describe(self) -> dict[str, Any]:
        """Say for an audit's record who speaks and who renders, without paths of this machine."""
        return {
            "speech": "embedded: flite for English, espeak-ng for the rest"
            if self.speech is None
            else str(self.speech),
            "sound": str(self.sound),
            "references": [
                {"name": one.name, "content": one.content, "language": one.language} for one in self.references
            ],
        }


EMBEDDED = Casting()
"""Nothing to download: espeak-ng and flite for speech, the embedded corpora's own renderer for captions."""


def parse_casting(
    voices: str | None = None, sounds: str | None = None, references: str | None = None, seed: int = 0
) -> Casting:
    """Read the command line's ``--voices``, ``--sounds`` and ``--reference-voices``.

    Parameters
    ----------
    voices, sounds : str or None
        ``ENGINE``, ``ENGINE=WHERE`` or ``ENGINE=WHERE,KEY=VALUE,...``; None for the embedded ones.
    references : str or None
        Folder of reference voices; or ``librispeech``, or ``librispeech=FOLDER``, for three speakers of it.
    seed : int
        Chooses the three speakers.

    Returns
    -------
    Casting

    Raises
    ------
    InputError
        If an engine is unknown or reads something else, its place or an option is wrong, or reference voices are
        missing or not needed.
    """
    speech = None if voices is None else parse_voice(voices, "text", "--voices")
    sound = RENDERED if sounds is None else parse_voice(sounds, "caption", "--sounds")
    clones = speech is not None and ENGINES[speech.engine].clones
    if clones and references is None:
        raise InputError(
            f"{voices} borrows voices: name recordings of them with --reference-voices DIR, or "
            "--reference-voices librispeech"
        )
    if references is not None and not clones:
        raise InputError(
            "--reference-voices are for a --voices engine that borrows them: "
            f"{', '.join(name for name, kind in ENGINES.items() if kind.clones)}"
        )
    if references is None:
        return Casting(speech, sound)
    if references.partition("=")[0] == "librispeech":
        return Casting(speech, sound, librispeech(references, seed))
    return Casting(speech, sound, read_references(Path(references).expanduser()))


def parse_voice(argument: str, reads: str, option: str) -> Voice:
    """Read one ``ENGINE[=WHERE][,KEY=VALUE...]`` and look whether it can be opened; nothing is loaded.

    Parameters
    ----------
    argument : str
    reads : str
        ``text`` or ``caption``.
    option : str
        Command line option, for messages.

    Returns
    -------
    Voice
        Without reference and seed.

    Raises
    ------
    InputError
        See `parse_casting`.
    """
    head, *options = argument.split(",")
    engine, _, where = head.partition("=")
    fitting = [name for name, kind in ENGINES.items() if kind.reads == reads]
    if engine not in fitting:
        raise InputError(f"{option} {argument}: no such engine; there are {', '.join(fitting)}")
    needed = ENGINES[engine].where
    if needed and not where and needed != "PYTHON":
        raise InputError(f"{option} {argument}: say where, as {engine}={needed}")
    voice = Voice(engine, options=tuple(options), where=where)
    if options and not ENGINES[engine].options:
        raise InputError(f"{option} {argument}: {engine} has no options")
    open_engine(voice, "cpu").close()
    return voice
