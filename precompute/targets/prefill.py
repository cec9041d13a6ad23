"""A batch of inputs that a model has read: its key-value cache, and what to do with its rows."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass
class Prefill:
    """A batch of inputs that the model has read: what every continuation starts from.

    Parameters
    ----------
    logits : torch.Tensor [shape=(n, V)]
        Of the position that predicts the first answer token.
    cache : transformers.Cache
    mask : torch.Tensor [shape=(n, n_positions)], int
        1 where a position is real, 0 where it is padding on the left.
    context : dict of str to torch.Tensor [shape=(n, ...)]
        What a family's `ChatTarget.step` needs besides: the encoder's output, say, or an offset of positions.
    """

    logits: torch.Tensor
    cache: Any
    mask: torch.Tensor
    context: dict[str, torch.Tensor] = field(default_factory=dict)

    def select(self, rows: torch.Tensor) -> Prefill:
        """Give the given rows, in that order and as often as they are named, to be continued apart from these."""
        import torch

        apart = Prefill(self.logits, _apart(self.cache), self.mask, self.context)
        if torch.equal(rows, torch.arange(len(self.logits), device=rows.device)):
            return apart
        return apart.keep(rows)

    def keep(self, rows: torch.Tensor) -> Prefill:
        """Give the same rows as `select` without a copy: the key-value cache is changed in place."""
        for layer in cache_layers(self.cache):
            if layer.keys is not None:  # layers may lie on several devices, and an index lies beside what it selects
                layer.batch_select_indices(rows.to(layer.keys.device))
        context = {name: values[rows] for name, values in self.context.items()}
        return Prefill(self.logits[rows], self.cache, self.mask[rows], context)

    def read(self, real: torch.Tensor) -> None:
        """Note further positions [shape=(n, k)] as read: 1 where a token is real, 0 where it is padding."""
        import torch

        self.mask = torch.cat([self.mask, real.to(self.mask.dtype)], dim=1)

    @property
    def nbytes(self) -> int:
        """Memory of the key-value cache and of the context."""
        return cache_bytes(self.cache) + sum(values.nbytes for values in self.context.values())


def _apart(cache: Any) -> Any:
    """Copy a cache so far that the copy grows by itself; layers that only ever replace their tensors share them."""
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    replacing = (DynamicLayer, DynamicSlidingWindowLayer)
    if not all(type(layer) in replacing for layer in getattr(cache, "layers", [None])):
        return copy.deepcopy(cache)
    apart = copy.copy(cache)
    apart.layers = [copy.copy(layer) for layer in cache.layers]
    return apart


def cache_layers(cache: Any) -> list[Any]:
    """Layers of a key-value cache, of an encoder-decoder's two as well."""
    parts = [cache.self_attention_cache, cache.cross_attention_cache] if hasattr(cache, "cross_attention_cache") else []
    return [layer for part in parts or [cache] for layer in part.layers]


def cache_bytes(cache: Any) -> int:
    """Memory of a key-value cache."""
    return sum(layer.keys.nbytes + layer.values.nbytes for layer in cache_layers(cache) if layer.keys is not None)


def join(states: Sequence[Prefill]) -> Prefill:
    """Make one batch of several, shorter ones filled up on the left; their caches are used up.

    Parameters
    ----------
    states : sequence of Prefill
        Of one model. Key-value caches may have layers with a sliding window, which forget what lies outside it.

    Returns
    -------
    Prefill
        Rows in the order of `states`.
    """
    if len(states) == 1:
        return states[0]
    import torch

    longest = max(state.mask.shape[1] for state in states)
    cache = states[0].cache
    for layers in zip(*(state.cache.layers for state in states), strict=True):
        layer = layers[0]
        if layer.keys is None:  # it shares the keys and values of another layer
            continue
        layer.keys, layer.values = (_stack([getattr(one, part) for one in layers], -2) for part in ("keys", "values"))
        if hasattr(layer, "cumulative_length"):
            layer.cumulative_length = longest
    return Prefill(
        torch.cat([state.logits for state in states]),
        cache,
        _stack([state.mask for state in states], -1),
        {name: torch.cat([state.context[name] for state in states]) for name in states[0].context},
    )


def _stack(parts: Sequence[Any], axis: int) -> Any:
    """Put tensors below each other, filled up with zeros at the start of a negative `axis`."""
    import torch

    longest = max(part.shape[axis] for part in parts)
    before = [0, 0] * (-axis - 1)
    return torch.cat([torch.nn.functional.pad(part, [*before, longest - part.shape[axis], 0]) for part in parts])
