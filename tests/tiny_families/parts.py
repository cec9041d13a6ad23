"""What the builders of tiny models share: tokenizers, louder weights, and what transformers itself computes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SENTENCES = (
    "Transcribe the input speech.",
    "Please enter your number and press the pound key.",
    "Describe the sound: a dog barks twice, then a door is closed.",
    "Slow piano music with strings, calm and a little sad.",
    "You are a helpful assistant. The number you have dialed is not in service.",
    "por favor, introduzca su clave; la extensión no está disponible",
    "veuillez saisir le numéro, puis appuyez sur la touche dièse",
    "введите номер и нажмите решётку",
)
"""What the tokenizers are fitted on; bytes make up for the rest."""


def byte_level_bpe(special: Sequence[str] = (), size: int = 400) -> Tokenizer:
    """Byte-level BPE as in GPT-2 and its heirs, `special` first."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(SENTENCES, trainer)
    return core


def vocabulary_and_merges(core: Tokenizer) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """What tokenizer classes with a BPE of their own are made of."""
    model = json.loads(core.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def spaced_bpe(special: Sequence[str] = ("<unk>", "<s>", "</s>"), size: int = 200) -> Any:
    """BPE over characters with ``▁`` for spaces and bytes for what is unknown, as in Llama and its heirs.

    `special` begins with the unknown, the start and the end token.
    """
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    core.train_from_iterator(SENTENCES, trainers.BpeTrainer(vocab_size=size, show_progress=False))
    learned, merges = vocabulary_and_merges(core)
    names = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *sorted(learned, key=learned.__getitem__)]
    vocabulary = {name: index for index, name in enumerate(dict.fromkeys(names))}
    core = Tokenizer(models.BPE(vocabulary, merges, unk_token=special[0], byte_fallback=True, fuse_unk=True))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    core.decoder = decoders.Sequence(steps)
    core.add_special_tokens(list(special))
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token=special[0], bos_token=special[1], eos_token=special[2]
    )


def louder(model: Any, weights: float = 4.0, head: float = 3.0, keep: Sequence[str] = ("embed_positions",)) -> None:
    """Scale random weights up so that audio and history change what is written; `keep` names what stays as it is."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and not any(part in name for part in keep):
                weight.mul_(weights)
        model.get_output_embeddings().weight.mul_(head)


def save(model: Any, processor: Any, path: Path) -> Path:
    """Save a model and its processor as one folder."""
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


def plain_inputs(processor: Any, audio: np.ndarray, prompt: str) -> Any:
    """Inputs of one clip by the chat template, text before audio."""
    return chat_inputs(processor, [{"type": "text", "text": prompt}, {"type": "audio", "audio": audio}])


def plain_inputs_audio_first(processor: Any, audio: np.ndarray, prompt: str) -> Any:
    """Inputs of one clip by the chat template, text after audio."""
    return chat_inputs(processor, [{"type": "audio", "audio": audio}, {"type": "text", "text": prompt}])


def chat_inputs(processor: Any, content: list[dict[str, Any]]) -> Any:
    """Inputs of one user's turn by the chat template."""
    return processor.apply_chat_template(
        [[{"role": "user", "content": content}]],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
    )


def plain_ids(model: Any, inputs: Any, steps: int) -> list[int]:
    """What transformers' own greedy decoding writes."""
    written = model.generate(**inputs, max_new_tokens=steps, do_sample=False)
    return written[0, inputs["input_ids"].shape[1] :].tolist()


def plain_logits(model: Any, inputs: Any, ids: Sequence[int]) -> torch.Tensor:
    """Logits that predict `ids`, shape (T, V), by one forward pass without a cache."""
    inputs = dict(inputs)
    whole = torch.cat([inputs.pop("input_ids"), torch.as_tensor(ids)[None]], dim=1)
    inputs["attention_mask"] = torch.ones_like(whole)
    with torch.inference_mode():
        return model(input_ids=whole, **inputs, use_cache=False).logits[0, -len(ids) - 1 : -1]
