"""A target whose weights are held by workers elsewhere: what it is and how it spells a text, and no score."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from precompute.clips import InputError
from precompute.indicators import TokenStats
from precompute.targets.loading import Source, first_line

if TYPE_CHECKING:
    from precompute.targets.base import ChatTarget
    from precompute.targets.families import Family


class Elsewhere:
    """A `Target` to look scores up with: it has the names that keys are made of and encodes texts, without weights.

    Parameters
    ----------
    target : ChatTarget
        Whose model is that of `without_weights`.
    """

    def __init__(self, target: ChatTarget) -> None:
        self.id, self.revision, self.dtype, self.family = target.id, target.revision, target.dtype, target.family
        self.prompts, self.access = target.prompts, target.access
        self.limits, self.decoding = target.limits, target.decoding
        self._target = target

    def encode(self, text: str) -> list[int]:
        """Return the ids that the model would have to write for `text`; see `Target.encode`."""
        return self._target.encode(text)

    def generate(self, audios: Sequence[np.ndarray], prompt: str, max_new_tokens: int) -> list[TokenStats]:
        """Raise `InputError`: there are no weights here to write with."""
        raise self._missing(len(audios))

    def score(self, audios: Sequence[np.ndarray], prompt: str, token_ids: Sequence[Sequence[int]]) -> list[TokenStats]:
        """Raise `InputError`: there are no weights here to score with."""
        raise self._missing(len(audios))

    def _missing(self, count: int) -> InputError:
        return InputError(
            f"{self.id}: its weights are with the workers, who left at least {count} texts unanswered (a voice that "
            "never speaks twice alike would have them asked about other audio); what was scored is kept, and the same "
            "command goes on"
        )


def open_elsewhere(source: Source, family: Family, dtype: str) -> Elsewhere:
    """Open a target's processor and configurations, and nothing else of it.

    Parameters
    ----------
    source : Source
    family : Family
    dtype : str
        Name of the torch dtype that the weights have where they are.

    Returns
    -------
    Elsewhere
        Of the same names, and the same ids for every text, as the target that is loaded whole.

    Raises
    ------
    InputError
        If a part is missing. Of the weights only those who load them can say so.
    """
    module, _, name = family.target.partition(":")
    kind = getattr(importlib.import_module(module), name)
    processor = kind.open_processor(source, family)
    model = without_weights(source, family, dtype)
    return Elsewhere(kind(model, processor, id=source.id, revision=source.revision, prompts=family.prompts))


def without_weights(source: Source, family: Family, dtype: str) -> Any:
    """Stand in for a model by its configurations and its dtype, as its class would have read them.

    Parameters
    ----------
    source : Source
    family : Family
    dtype : str

    Returns
    -------
    SimpleNamespace
        ``config``, ``generation_config`` and ``dtype``.
    """
    import torch
    import transformers
    from huggingface_hub.errors import HTTPError, StrictDataclassError

    # A class of one part of a model reads that part's configuration, an auto class the whole one.
    config_class = getattr(getattr(transformers, family.auto_class), "config_class", None) or transformers.AutoConfig
    try:
        config = config_class.from_pretrained(source.location, **source.where)
        try:
            generation = transformers.GenerationConfig.from_pretrained(source.location, **source.where)
        except OSError:  # there is no such file: as transformers does, take what older models keep in the other
            generation = transformers.GenerationConfig.from_pretrained(
                source.location, config_file_name="config.json", _from_model_config=True, **source.where
            )
    except (OSError, HTTPError, ValueError, StrictDataclassError) as error:
        raise InputError(f"{source.id}: its configuration cannot be read ({first_line(error)})") from error
    return SimpleNamespace(config=config, generation_config=generation, dtype=getattr(torch, dtype))
