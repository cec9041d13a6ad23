"""Families whose encoder hears the padding of a batch: clips of different length are read apart and then joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from precompute.targets.base import ChatTarget, Prefill


class AloneTarget(ChatTarget):
    """A `ChatTarget` that reads together only what has one length.

    Where an encoder does not mask padding, or where front end and padding meet, a clip would be heard differently
    beside a longer one. Decoding runs on the joined batch: there padding is masked.
    """

    together: ClassVar[int | None] = None
    """Most samples of clips that can be read together even where they have one length; None is no limit."""

    def read(self, audios: Sequence[np.ndarray], prompt: str) -> Prefill:
        """Run a batch through the model, clips of one length at a time; see `ChatTarget.read`."""
        import torch

        groups: dict[tuple[int, int], list[int]] = {}
        for index, audio in enumerate(audios):
            apart = self.together is not None and len(audio) > self.together
            groups.setdefault((len(audio), index if apart else -1), []).append(index)
        states = [super(AloneTarget, self).read([audios[i] for i in rows], prompt) for rows in groups.values()]
        if len(states) == 1:
            return states[0]
        order = torch.tensor([index for rows in groups.values() for index in rows], device=states[0].logits.device)
        return join(states).keep(order.argsort())


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
