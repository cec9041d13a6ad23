"""The families of audio language models that can be audited: what each is, and the class that reads it.

A family is a row here; a file of its own beside this one holds only what differs from `precompute.targets.base`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from precompute.targets.base import PROMPTS


@dataclass(frozen=True)
class Family:
    """One model type of transformers.

    Parameters
    ----------
    model_type : str
        As in ``config.json``.
    title : str
        For people.
    example : str
        Hub id of a published model of the family.
    target : str
        ``module:Class`` of the `ChatTarget` that reads it.
    auto_class : str
        transformers' auto class that lists it.
    prompts : mapping of str to str
        What to ask per task.
    chat : bool
        Whether its processor needs a chat template.
    """

    model_type: str
    title: str
    example: str
    target: str = "precompute.targets.base:ChatTarget"
    auto_class: str = "AutoModelForMultimodalLM"
    prompts: Mapping[str, str] = field(default_factory=lambda: PROMPTS)
    chat: bool = True


_LISTED = (
    # transformers lists the Flamingos among encoder-decoders, although their text models are decoder-only.
    Family(
        "audioflamingo3",
        "Audio Flamingo 3",
        "nvidia/audio-flamingo-3-hf",
        "precompute.targets.flamingo:FlamingoTarget",
        "AutoModelForSeq2SeqLM",
    ),
    Family(
        "musicflamingo",
        "Music Flamingo",
        "nvidia/music-flamingo-2601-hf",
        "precompute.targets.flamingo:FlamingoTarget",
        "AutoModelForSeq2SeqLM",
    ),
)

FAMILIES: dict[str, Family] = {family.model_type: family for family in _LISTED}
"""Model type to family."""

NOT_AUDITED: dict[str, str] = {}
"""Model types that read audio and write text and are refused, each with the reason, as an ending of a sentence."""
