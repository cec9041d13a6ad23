"""Granite Speech and Granite Speech Plus: prompts as plain text, a LoRA adapter of their own, and scaled logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from precompute.clips import InputError
from precompute.targets.alone import AloneTarget
from precompute.targets.base import PROMPTS, checked
from precompute.targets.fitting import fitted
from precompute.targets.loading import Placement, Source
from precompute.targets.prefill import Prefill

if TYPE_CHECKING:
    import torch

    from precompute.targets.families import Family

SYSTEM = (
    "Knowledge Cutoff Date: April 2024.\nToday's Date: December 19, 2024.\n"
    "You are Granite, developed by IBM. You are a helpful AI assistant"
)
"""System message of the family's own examples in transformers' documentation and tests."""


class GraniteSpeechTarget(AloneTarget):
    """Granite Speech; see `ChatTarget`.

    The chat template takes text only: the audio placeholder is written into it and filled by the processor. The LoRA
    adapter that comes with most of the models has to be at work whenever audio is heard.
    """

    always_system = False
    """Whether `SYSTEM` is given where the chat template would leave the system message out."""

    def __init__(
        self, model: Any, processor: Any, *, id: str, revision: str, prompts: Mapping[str, str] = PROMPTS
    ) -> None:
        super().__init__(model, processor, id=id, revision=revision, prompts=prompts)
        template = self.tokenizer.chat_template
        if not template:
            raise InputError(f"{id}: its tokenizer has no chat template to put audio and prompt into")
        # Some templates write today's date where no system message is given: scores would change from day to day.
        self.system = SYSTEM if self.always_system or "strftime_now" in str(template) else None

    @classmethod
    def open_model(cls, source: Source, family: Family, placement: Placement) -> Any:
        """Load the model, and put its adapter to work where it has one."""
        model = super().open_model(source, family, placement)
        adapted = getattr(model, "_hf_peft_config_loaded", False)
        if model.config.has_lora_adapter and not adapted:
            raise InputError(
                f"{source.id}: it listens through a LoRA adapter, whose files (adapter_config.json, "
                "adapter_model.safetensors) are missing"
            )
        if adapted:
            model.enable_adapters()
        return model

    @cached_property
    def scale(self) -> float:
        """What the model's logits still have to be divided by; see `missing_scale`."""
        return missing_scale(self.model)

    def inputs(self, audios: Sequence[np.ndarray], prompt: str) -> Any:
        """Prepare a batch; see `ChatTarget.inputs`."""
        self.check_prompt(prompt)
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        turns = [*system, {"role": "user", "content": f"{self.processor.audio_token}{prompt}"}]
        text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        clips = [self.fit(checked(audio)) for audio in audios]
        return self.processor([text] * len(clips), clips, return_tensors="pt")

    def fit(self, audio: np.ndarray) -> np.ndarray:
        """Follow audio too short for the front end by silence: it makes pairs of frames and mirrors the borders."""
        settings = self.processor.audio_processor.melspec_kwargs
        return fitted(audio, max(settings["hop_length"], settings["n_fft"] // 2 + 1))

    def read(self, audios: Sequence[np.ndarray], prompt: str) -> Prefill:
        """Run a batch through the model; see `ChatTarget.read`."""
        state = super().read(audios, prompt)
        state.logits = state.logits / self.scale
        return state

    def step(self, state: Prefill, ids: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Read further tokens of a batch; see `ChatTarget.step`."""
        return super().step(state, ids, real) / self.scale


class GraniteSpeechPlusTarget(GraniteSpeechTarget):
    """Granite Speech Plus; its own examples always give the system message."""

    always_system = True


def missing_scale(model: Any) -> float:
    """Find what logits still have to be divided by.

    Granite's text models were trained with their logits divided by ``logits_scaling`` (8 in Granite 3.3), as
    ``GraniteForCausalLM`` does. ``GraniteSpeechForConditionalGeneration`` has a head of its own, which in transformers
    5.23 leaves that out: greedy texts are the same, but probabilities come out far too sure.

    Parameters
    ----------
    model : GraniteSpeechForConditionalGeneration

    Returns
    -------
    float
        1 where the model divides by itself.
    """
    import torch

    with torch.inference_mode():
        tokens = torch.arange(1, 5, device=model.device)[None]
        output = model(input_ids=tokens, output_hidden_states=True)
        plain = model.lm_head(output.hidden_states[-1])
    scale = float(model.config.text_config.logits_scaling)
    return scale if torch.allclose(output.logits, plain) else 1.0
