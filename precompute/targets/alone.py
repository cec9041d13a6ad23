"""Families whose encoder hears the padding of a batch: clips of different length are read apart and then joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from precompute.targets.base import ChatTarget
from precompute.targets.prefill import Prefill, join


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
