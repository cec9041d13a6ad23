"""A key-value cache with room for what is written next: a token is put into place, where by default all is copied."""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import DynamicLayer

ROOM = 32
"""Positions kept free behind those read, at least; a quarter of those read where that is more."""


class RoomyLayer(DynamicLayer):
    """A `DynamicLayer` whose keys and values are the beginning of larger tensors."""

    def __init__(self) -> None:
        super().__init__()
        self._whole: dict[str, torch.Tensor] = {}

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add keys and values [shape=(n, heads, k, width)]; give all there are."""
        if not self.is_initialized:
            return super().update(key_states, value_states, *args, **kwargs)
        self.keys, self.values = self._extended("keys", key_states), self._extended("values", value_states)
        return self.keys, self.values

    def _extended(self, name: str, new: torch.Tensor) -> torch.Tensor:
        known, whole = getattr(self, name), self._whole.get(name)
        length = known.shape[-2] + new.shape[-2]
        # Rows that were selected, or a copy of the layer, stand elsewhere.
        if whole is None or whole.data_ptr() != known.data_ptr() or whole.shape[-2] < length:
            room = max(ROOM, length // 4)
            whole = known.new_empty(*known.shape[:-2], length + room, known.shape[-1])
            whole[..., : known.shape[-2], :] = known
            self._whole[name] = whole
        whole[..., known.shape[-2] : length, :] = new
        return whole[..., :length, :]


def make_room(cache: Any) -> None:
    """Let a cache grow in place, where its layers are those that keep all positions.

    Parameters
    ----------
    cache : transformers.Cache
        Nobody else may hold its tensors.
    """
    parts = [cache.self_attention_cache] if hasattr(cache, "self_attention_cache") else [cache]
    for part in parts:
        for index, layer in enumerate(part.layers):
            if type(layer) is DynamicLayer:
                roomy = part.layers[index] = RoomyLayer()
                vars(roomy).update(vars(layer))
