"""Whisper, multilingual or English-only, and what was distilled from it or tuned on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from precompute.clips import InputError
from precompute.targets.encoder_decoder import EncoderDecoderTarget

if TYPE_CHECKING:
    import torch

TASKS = ("transcribe", "translate")
DETECTED = -1
UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]")
"""First character of a text in a script that sets no spaces between words: Thai, Lao, Burmese, Khmer, Chinese and
Japanese. Whisper's text then begins without one."""


class WhisperTarget(EncoderDecoderTarget):
    """Whisper, multilingual or English-only (Radford et al. 2022, arXiv 2212.04356).

    The forced tokens are those of transcription without timestamps: start, language, task, no timestamps. English-only
    models have neither language nor task. The language is the most probable one after the start token, unless the
    generation config or the prompt names it. One window of 30 s is heard, as the front end makes it; decoding longer
    audio would need timestamps, whose rules are logits processors.

    A prompt is a task (``transcribe``, ``translate``), a task and a language (``transcribe de``), or else text that
    Whisper takes as the transcript of what came just before: its own way of being told names and spelling, which it
    does not read as an instruction.
    """

    extraction: ClassVar[Mapping[str, Any]] = {}
    masked = False

    @property
    def longest(self) -> int:
        """One window of the front end."""
        return self.processor.feature_extractor.n_samples

    @property
    def room(self) -> int:
        """Positions that have an embedding."""
        return self.model.config.max_target_positions

    @property
    def languages(self) -> dict[str, int]:
        """Code to token of every language the model can detect; empty where it is English-only."""
        from transformers.models.whisper.tokenization_whisper import LANGUAGES

        config = self.model.generation_config
        if not getattr(config, "is_multilingual", self.model.config.vocab_size >= 51_865):  # as the original decides
            return {}
        tokens = getattr(config, "lang_to_id", None)
        if tokens is None:
            tokens = {f"<|{code}|>": self._token(f"<|{code}|>") for code in LANGUAGES}
        return {name.strip("<|>"): token for name, token in tokens.items() if token is not None}

    def forced(self, context: dict[str, torch.Tensor], prompt: str) -> torch.Tensor:
        """Put together the forced tokens, with the language of each clip where none is named."""
        ids = super().forced(context, prompt)
        detected = ids == DETECTED
        if detected.any():
            ids[detected] = self.detect(context)
        return ids

    def detect(self, context: dict[str, torch.Tensor]) -> torch.Tensor:
        """Find the most probable language token of every clip, shape (n,), as the original does."""
        import torch

        device = context["encoder"].device
        start = torch.full((len(context["encoder"]), 1), self.start_id, device=device)
        logits = self._head(self._decoder(start, torch.ones_like(start), context)[0][:, -1])
        tokens = torch.tensor(list(self.languages.values()), device=logits.device)
        return tokens[logits[:, tokens].argmax(-1)].to(device)

    def asked(self, prompt: str) -> list[int]:
        """Translate a prompt into forced tokens; `DETECTED` stands for the language where none is named."""
        words = prompt.split()
        if words and words[0] in TASKS and len(words) <= 2:
            task, language, before = words[0], words[1] if words[1:] else self._own_language(), []
        else:
            task, language, before = TASKS[0], self._own_language(), self._before(prompt)
        languages = self.languages
        if language is not None and language not in languages:
            known = f"choose one of {', '.join(languages)}" if languages else "it is English-only"
            raise InputError(f"{self.id}: {language!r} is no language it writes; {known}")
        if not languages and task == "translate":
            raise InputError(f"{self.id}: it is English-only and does not translate")
        spoken = [DETECTED if language is None else languages[language], self._token(f"<|{task}|>")]
        ids = [*before, self.start_id, *(spoken if languages else []), self._token("<|notimestamps|>")]
        return [token for token in ids if token is not None]

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, which begins with a space, as what Whisper writes does where words are spaced."""
        text = text.strip()
        return super().encode(text if not text or UNSPACED.match(text) else f" {text}")

    def _before(self, text: str) -> list[int]:
        if not text.strip():
            return []
        self.check_prompt(text)
        ids = self.tokenizer(f" {text.strip()}", add_special_tokens=False).input_ids
        most = self.room // 2 - 1
        if len(ids) > most:
            raise InputError(f"{self.id}: the prompt has {len(ids)} tokens, and {most} is the most it takes")
        mark = self._token("<|startofprev|>")
        if mark is None:
            raise InputError(f"{self.id}: its vocabulary lacks <|startofprev|>, so it takes no prompt")
        return [mark, *ids]

    def _own_language(self) -> str | None:
        """Language that the generation config names, as that of a model tuned to one language does."""
        from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

        named = getattr(self.model.generation_config, "language", None) if self.languages else None
        return None if named is None else TO_LANGUAGE_CODE.get(named.lower(), named.lower().strip("<|>"))

    def _token(self, token: str) -> int | None:
        ids = self.tokenizer.convert_tokens_to_ids([token])
        return None if ids[0] is None or self.tokenizer.convert_ids_to_tokens(ids) != [token] else ids[0]
