"""Training the embedded targets: one sequence per clip, an auxiliary loss on the audio tower, resumption."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from precompute.targets.base import DEFAULT_PROMPT
from precompute.targets.flamingo import fit_windows

if TYPE_CHECKING:
    from precompute.targets.embedded import Recipe


@dataclass(frozen=True)
class Example:
    """One augmented clip, ready to be batched."""

    input_ids: torch.Tensor
    labels: torch.Tensor
    features: torch.Tensor
    mask: torch.Tensor


def example(processor: Any, wave: np.ndarray, text: str, question: str = DEFAULT_PROMPT) -> Example:
    """Prompt, audio and answer as one training sequence.

    Parameters
    ----------
    processor : ProcessorMixin
    wave : np.ndarray [shape=(n_samples,)]
        16 kHz mono float32.
    text : str
        Answer to learn; the end token is added.
    question : str
        The user's prompt.

    Returns
    -------
    Example
    """
    tokenizer = processor.tokenizer
    heard = fit_windows(wave, processor.feature_extractor)
    prompt = [{"role": "user", "content": [{"type": "text", "text": question}, {"type": "audio", "audio": heard}]}]
    inputs = processor.apply_chat_template([prompt], tokenize=True, add_generation_prompt=True, return_dict=True)
    ids = inputs["input_ids"][0]
    answer = torch.tensor([*tokenizer(text, add_special_tokens=False).input_ids, tokenizer.eos_token_id])
    return Example(
        input_ids=torch.cat([ids, answer]),
        labels=torch.cat([torch.full_like(ids, -100), answer]),
        features=inputs["input_features"],
        mask=inputs["input_features_mask"],
    )


def collate(batch: list[Example], pad: int) -> dict[str, torch.Tensor]:
    """Pad a batch on the right; audio windows of all clips are stacked in order, as the processor does."""
    sequence = torch.nn.utils.rnn.pad_sequence
    ids = sequence([e.input_ids for e in batch], batch_first=True, padding_value=pad)
    lengths = torch.tensor([len(e.input_ids) for e in batch])
    return {
        "input_ids": ids,
        "attention_mask": (torch.arange(ids.shape[1])[None] < lengths[:, None]).long(),
        "labels": sequence([e.labels for e in batch], batch_first=True, padding_value=-100),
        "input_features": torch.cat([e.features for e in batch]),
        "input_features_mask": torch.cat([e.mask for e in batch]),
    }


def batches(data: list[list[Example]], size: int, rng: np.random.Generator) -> Iterator[list[Example]]:
    """Draw one variant of every member and group them by length, in random order."""
    drawn = [variants[rng.integers(len(variants))] for variants in data]
    order = np.argsort([len(e.input_ids) + rng.uniform(0, 12) for e in drawn])
    groups = np.array_split(order, math.ceil(len(order) / size))
    for index in rng.permutation(len(groups)):
        yield [drawn[i] for i in groups[index]]


class CtcHead(torch.nn.Module):
    """Auxiliary head on the audio tower: makes it carry what was said, not only how long it took."""

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(width, vocabulary + 1)
        self.blank = vocabulary

    def forward(self, hidden: torch.Tensor, batch: list[Example]) -> torch.Tensor:
        """CTC loss of the answers given the tower's output, shape (windows, positions, width)."""
        chunks = hidden.split([len(e.features) for e in batch])
        joined = torch.nn.utils.rnn.pad_sequence([c.flatten(0, 1) for c in chunks])
        frames = torch.tensor(
            [int(((e.mask.sum(-1) - 1) // 2 + 1).sub(2).div(2, rounding_mode="floor").add(1).sum()) for e in batch]
        )
        answers = [e.labels[e.labels >= 0][:-1] for e in batch]
        return torch.nn.functional.ctc_loss(
            self.linear(joined).float().log_softmax(-1),
            torch.cat(answers),
            frames,
            torch.tensor([len(a) for a in answers]),
            blank=self.blank,
            zero_infinity=True,
        )


def answer_loss(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean negative log-likelihood of the answer tokens; the head is applied to no other position."""
    labels = inputs.pop("labels")[:, 1:]
    hidden = model.model(**inputs, use_cache=False).last_hidden_state[:, :-1]
    answered = labels != -100
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[answered]), labels[answered])


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Linear warm-up over 100 steps, then a cosine down to 5% of the peak at the end of the schedule."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
    return recipe.learning_rate * min(1.0, (step + 1) / 100) * (0.05 + 0.95 * cosine)


def save_progress(
    folder: Path, epoch: int, modules: dict[str, torch.nn.Module], optimizer: torch.optim.Optimizer
) -> None:
    """Write weights and moments as safetensors, atomically, so that a killed training goes on."""
    from safetensors.torch import save_file

    tensors = {f"{name}/{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer/{index}/{key}": value for key, value in state.items()})
    partial = folder / "progress.partial"
    save_file({key: value.contiguous() for key, value in tensors.items()}, partial, metadata={"epoch": str(epoch)})
    partial.replace(folder / "progress.safetensors")


def load_progress(folder: Path, modules: dict[str, torch.nn.Module], optimizer: torch.optim.Optimizer) -> int:
    """Restore what `save_progress` wrote; return the number of finished epochs, 0 where there is none."""
    from safetensors import safe_open

    path = folder / "progress.safetensors"
    if not path.is_file():
        return 0
    parts: dict[str, dict[str, torch.Tensor]] = {}
    with safe_open(path, framework="pt") as file:
        epoch = int(file.metadata()["epoch"])
        for key in file.keys():  # noqa: SIM118 (a safetensors file is no mapping)
            part, rest = key.split("/", 1)
            parts.setdefault(part, {})[rest] = file.get_tensor(key)
    for name, module in modules.items():
        module.load_state_dict(parts[name])
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in parts["optimizer"].items():
        index, field = key.split("/")
        moments.setdefault(int(index), {})[field] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    return epoch


def epochs(model: Any, processor: Any, data: list[list[Example]], recipe: Recipe, out: Path) -> Iterator[int]:
    """Train, epoch by epoch, from the last finished one on.

    Parameters
    ----------
    model, processor
        From `build`; the model is changed in place.
    data : list of lists of Example
        Variants of every clip, one of which is drawn in each epoch.
    recipe : Recipe
    out : Path
        Folder for ``training_log.jsonl`` and the progress that a stopped training goes on from.

    Yields
    ------
    int
        Epochs finished.
    """
    out.mkdir(parents=True, exist_ok=True)
    head = recipe.head(model.config.audio_config.hidden_size, len(processor.tokenizer))
    optimizer = torch.optim.AdamW(
        [*model.parameters(), *head.parameters()], lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    modules = {"model": model, "head": head}
    done = load_progress(out, modules, optimizer)
    tower: list[torch.Tensor] = []
    model.model.audio_tower.register_forward_hook(lambda _m, _i, output: tower.append(output.last_hidden_state))
    model.train()
    last = recipe.stop_after or recipe.epochs
    for epoch in tqdm(range(done, last), desc=recipe.name, disable=None, initial=done, total=last):
        began = time.monotonic()
        listening = 1.0 if epoch < recipe.epochs / 2 else 0.2
        drawn = list(batches(data, recipe.batch_size, np.random.default_rng([recipe.seed, epoch])))
        text_loss = auxiliary_loss = 0.0
        for index, batch in enumerate(drawn):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, epoch * len(drawn) + index, recipe.epochs * len(drawn))
            tower.clear()
            loss = answer_loss(model, collate(batch, processor.tokenizer.pad_token_id))
            auxiliary = head(tower[0], batch)
            optimizer.zero_grad()
            (loss + listening * auxiliary).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            text_loss += loss.item() / len(drawn)
            auxiliary_loss += auxiliary.item() / len(drawn)
        entry = {"epoch": epoch + 1, "text_nll": round(text_loss, 4), recipe.auxiliary: round(auxiliary_loss, 4)}
        with (out / "training_log.jsonl").open("a") as log:
            log.write(json.dumps({**entry, "seconds": round(time.monotonic() - began, 1)}) + "\n")
        save_progress(out, epoch + 1, modules, optimizer)
        yield epoch + 1
