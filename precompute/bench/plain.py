"""The paper's protocol, written plainly: what a faster way to the same numbers is compared with.

One clip at a time. The model decodes greedily; then the whole of prompt and answer goes through it once more, all
logits are kept, and the indicators are computed from them by their formulas (arXiv 2603.28378; Shi et al. 2024 for
Min-K%). A given text is scored by the same full pass. Nothing is shared between passes, and nothing here calls the
code that it is compared with, save for the model, its processor and the ids of a given text.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

PERCENTS = (5, 10, 20, 30, 40, 50, 60)
Input = tuple[str, int]
"""Condition and realization."""


@dataclass(frozen=True)
class PlainRow:
    """One scored text.

    Parameters
    ----------
    condition : str
    realization : int
    scored_text : str
        ``generated``, ``carried`` or ``reference``.
    ids : list of int
    values : dict of str to float
        The 30 indicators.
    """

    condition: str
    realization: int
    scored_text: str
    ids: list[int]
    values: dict[str, float]


def plain_rows(
    target: Any, audios: Mapping[Input, np.ndarray], text: str | None, prompt: str, max_new_tokens: int
) -> Iterator[PlainRow]:
    """Score one clip under every input.

    Parameters
    ----------
    target : ChatTarget
        Decoder-only: the model, its processor and its end tokens are used.
    audios : mapping of (str, int) to np.ndarray [shape=(n_samples,)]
        By condition and realization; ``("original", 0)`` comes first.
    text : str or None
        Known transcript.
    prompt : str
    max_new_tokens : int

    Yields
    ------
    PlainRow
    """
    original: list[int] = []
    for (condition, realization), audio in audios.items():
        wrote = decode(target, audio, prompt, max_new_tokens)
        texts = {"generated": wrote}
        if condition == "original":
            original = wrote
        else:
            texts["carried"] = original
        if text:
            texts["reference"] = target.encode(text)
        for scored_text, ids in texts.items():
            logits = full_logits(target, audio, prompt, ids)
            said = target.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            yield PlainRow(condition, realization, scored_text, ids, textbook_indicators(logits, ids, said))


def decode(target: Any, audio: np.ndarray, prompt: str, max_new_tokens: int) -> list[int]:
    """Let the model write by transformers' own greedy decoding, without logits processors; ids with the end token."""
    import torch
    from transformers import GenerationConfig

    inputs = _inputs(target, audio, prompt)
    plain = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=list(target.end_ids),
        pad_token_id=target.end_ids[0],
    )
    with torch.inference_mode():
        written = target.model.generate(**inputs, generation_config=plain)
    return written[0, inputs["input_ids"].shape[1] :].tolist()


def full_logits(target: Any, audio: np.ndarray, prompt: str, ids: Sequence[int]) -> torch.Tensor:
    """Give the logits that predict `ids` [shape=(T, V)], from one pass over prompt and answer."""
    import torch

    inputs = dict(_inputs(target, audio, prompt))
    answer = torch.tensor([list(ids)], device=inputs["input_ids"].device)
    whole = torch.cat([inputs.pop("input_ids"), answer], dim=1)
    inputs["attention_mask"] = torch.ones_like(whole)
    with torch.inference_mode():
        return target.model(input_ids=whole, **inputs, use_cache=False).logits[0, -len(ids) - 1 : -1]


def _inputs(target: Any, audio: np.ndarray, prompt: str) -> Any:
    """Prepare one clip with the model's processor and chat template."""
    return target.inputs([audio], prompt).to(target.model.device, target.model.dtype)


def textbook_indicators(logits: torch.Tensor, ids: Sequence[int], text: str) -> dict[str, float]:
    """Compute the 30 indicators from full logits, each by its own formula.

    Parameters
    ----------
    logits : torch.Tensor [shape=(T, V)]
        On any device, of any floating type; taken to float32.
    ids : sequence of int
        The T scored tokens; at least one.
    text : str
        What they say, for its compressed size.

    Returns
    -------
    dict of str to float
    """
    length, vocabulary = logits.shape
    log_p = logits.float().log_softmax(dim=-1)
    p = log_p.exp()
    surprise = _numbers(-log_p[range(length), list(ids)])
    best = _numbers(p.topk(2, dim=-1).values)
    renyi = {
        "0": np.log(np.maximum(1, _numbers((p * vocabulary >= 1 - 1e-4).sum(dim=-1)))),
        "1": _numbers(-(p * log_p.clamp(min=-1e30)).sum(dim=-1)),  # 0 log 0 is 0
        "2": _numbers(-(p**2).sum(dim=-1).log()),
        "inf": _numbers(-log_p.amax(dim=-1)),
    }
    values = {
        "nll": surprise.mean(),
        "entropy": renyi["1"].mean(),
        "zlib_ratio": surprise.mean() / len(zlib.compress(text.encode())),
        "prob_gap": (best[:, 0] - best[:, 1]).mean(),
    }
    for k in PERCENTS:
        n = max(1, length * k // 100)
        values[f"min_k_{k:02d}"] = np.sort(surprise)[-n:].mean()
        values[f"max_k_{k:02d}"] = np.sort(surprise)[:n].mean()
    for order, entropies in renyi.items():
        for k, n in ((0, 1), (10, max(1, length * 10 // 100)), (100, length)):
            values[f"renyi_{order}_k{k}"] = np.sort(entropies)[-n:].mean()
    return {name: float(value) for name, value in values.items()}


def _numbers(values: torch.Tensor) -> np.ndarray:
    """Give a tensor as an array of float64."""
    return values.double().cpu().numpy()
