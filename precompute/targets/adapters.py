"""Adapters (LoRA and the like) that lie beside a model's weights or in a folder of their own."""

from __future__ import annotations

import importlib.util

from precompute.clips import InputError
from precompute.targets.loading import Source

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def has_adapter(source: Source, folder: str = "") -> bool:
    """Look for an adapter, and refuse one that transformers would leave out in silence or read as a pickle.

    Parameters
    ----------
    source : Source
    folder : str
        Below the model's files; transformers loads the one among them by itself.

    Returns
    -------
    bool

    Raises
    ------
    InputError
        If the package peft, or weights in the safetensors format, are missing.
    """
    from transformers.utils import cached_file

    def find(name: str) -> str | None:
        return cached_file(
            source.location,
            name,
            subfolder=folder,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            **source.where,
        )

    if find(CONFIG) is None:
        return False
    if importlib.util.find_spec("peft") is None:
        raise InputError(f"{source.id}: it comes with an adapter, for which the package peft is needed")
    if find(WEIGHTS) is None:
        raise InputError(f"{source.id}: its adapter has no weights in the safetensors format ({WEIGHTS})")
    return True
