"""What memory bandwidth and arithmetic allow: the time that a device at its measured limits would need for the work.

Only products with weights, attention and the key-value cache are counted; what a run does besides makes its share
smaller. Counts follow the layers of Audio Flamingo 3: a Whisper encoder, a projector of two layers, a Qwen2 decoder
(gated feed-forward, grouped keys and values).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Device:
    """What a device was measured to do.

    Parameters
    ----------
    bytes_per_s : float
        Read and written by copying as much as the model's weights.
    flops_per_s : float
        Of a matrix product in the model's type.
    """

    bytes_per_s: float
    flops_per_s: float

    def seconds(self, flops: float, moved: float) -> float:
        """Least time in which both can be done, side by side."""
        return max(flops / self.flops_per_s, moved / self.bytes_per_s)


@dataclass(frozen=True)
class Costs:
    """What a model costs.

    Parameters
    ----------
    encoder_flops : float
        Per window of the front end, the projector included.
    encoder_bytes, decoder_bytes : int
        Weights that a pass reads; of the decoder without the embedding, of which it reads single rows.
    token_flops : float
        Per token that goes through the decoder and its head, attention apart.
    attention_flops : float
        Per token and position it attends to.
    cache_bytes : int
        Keys and values per position.
    head_flops : float
        Of `token_flops`, those of the head: the prompt needs it at its last position alone.
    """

    encoder_flops: float
    encoder_bytes: int
    decoder_bytes: int
    token_flops: float
    attention_flops: float
    cache_bytes: int
    head_flops: float


@dataclass(frozen=True)
class Reading:
    """One distinct audio and what is asked about it.

    Parameters
    ----------
    windows : float
        Of the front end, as far as there is sound in them: what fills them up need not be computed.
    positions : int
        Of the prompt with its audio tokens.
    written : int
        Tokens that are decoded one after the other; 0 where nothing is.
    given : tuple of int
        Tokens of each text that is scored.
    shared : int
        Of the positions, those at the start that are the same for all audio, and so need not be computed again.
    """

    windows: float
    positions: int
    written: int
    given: tuple[int, ...]
    shared: int = 0


def costs_of(model: Any) -> Costs:
    """Work out of a model's configuration and weights what it costs.

    Parameters
    ----------
    model : AudioFlamingo3ForConditionalGeneration or MusicFlamingoForConditionalGeneration

    Returns
    -------
    Costs
    """
    audio, text = model.config.audio_config, model.config.text_config
    heads, groups = text.num_attention_heads, text.num_key_value_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // heads
    layer = 2 * text.hidden_size * width * (2 * heads + 2 * groups) + 6 * text.hidden_size * text.intermediate_size
    head = 2 * text.hidden_size * text.vocab_size
    places, tokens = audio.max_source_positions, audio.max_source_positions // 2
    block = 8 * audio.hidden_size**2 + 4 * audio.hidden_size * audio.intermediate_size + 4 * audio.hidden_size * places
    convolutions = 2 * places * 6 * audio.num_mel_bins * audio.hidden_size + places * 6 * audio.hidden_size**2
    projector = tokens * 2 * text.hidden_size * (audio.hidden_size + text.hidden_size)
    size = next(model.parameters()).element_size()
    parts = {name: sum(one.nbytes for one in part.parameters()) for name, part in _parts(model).items()}
    return Costs(
        encoder_flops=audio.num_hidden_layers * places * block + convolutions + projector,
        encoder_bytes=parts["encoder"],
        decoder_bytes=parts["decoder"],
        token_flops=text.num_hidden_layers * layer + head,
        attention_flops=text.num_hidden_layers * 4 * heads * width,
        cache_bytes=text.num_hidden_layers * 2 * groups * width * size,
        head_flops=head,
    )


def _parts(model: Any) -> dict[str, Any]:
    """Parameters by part; the embedding is in none."""
    from torch import nn

    inner = model.model
    return {
        "encoder": nn.ModuleList([inner.audio_tower, inner.multi_modal_projector]),
        "decoder": nn.ModuleList([inner.language_model.layers, inner.language_model.norm, model.lm_head]),
    }


def least_seconds(costs: Costs, device: Device, readings: Sequence[Reading], rows: int) -> dict[str, float]:
    """Least time that a device needs, batch after batch of `rows`, the longest audio first.

    Parameters
    ----------
    costs : Costs
    device : Device
    readings : sequence of Reading
    rows : int
        Audio that is read and decoded together.

    Returns
    -------
    dict of str to float
        Seconds of ``reading`` (encoder and prompt), ``writing`` (a step for each token of the longest answer of a
        batch: all weights, and the keys and values of every row) and ``scoring`` (given texts, a batch in one pass).
    """
    ordered = sorted(readings, key=lambda one: -one.positions)
    spent = {"reading": 0.0, "writing": 0.0, "scoring": 0.0}
    for first in range(0, len(ordered), rows):
        batch = ordered[first : first + rows]
        prompt = sum(_prompt_flops(costs, one) for one in batch)
        encoder = sum(one.windows for one in batch) * costs.encoder_flops
        kept = sum(one.positions for one in batch) * costs.cache_bytes
        spent["reading"] += device.seconds(encoder, costs.encoder_bytes)
        spent["reading"] += device.seconds(prompt, costs.decoder_bytes + kept)
        for step in range(1, max(one.written for one in batch)):  # the first token comes from the prompt's own pass
            going = [one.positions + step for one in batch if one.written > step]
            flops = sum(_token_flops(costs, place) for place in going)
            spent["writing"] += device.seconds(flops, costs.decoder_bytes + sum(going) * costs.cache_bytes)
        given = [(one.positions, length) for one in batch for length in one.given if length > 1]
        if given:
            flops = sum((n - 1) * _token_flops(costs, place + n / 2) for place, n in given)
            spent["scoring"] += device.seconds(flops, costs.decoder_bytes + kept)
    return spent


def _token_flops(costs: Costs, positions: float) -> float:
    """Arithmetic of one token that attends to so many positions."""
    return costs.token_flops + costs.attention_flops * positions


def _prompt_flops(costs: Costs, one: Reading) -> float:
    """Arithmetic of a prompt: each token attends to those before it, and the head is needed once."""
    own = one.positions - one.shared
    return own * _token_flops(costs, (one.shared + one.positions) / 2) - (own - 1) * costs.head_flops


def measured_device(device: Any, dtype: Any, weight_bytes: int, together: int = 1) -> Device:
    """Measure a device: memory by copying, arithmetic by a matrix product.

    Parameters
    ----------
    device : torch.device
    dtype : torch.dtype
    weight_bytes : int
        What is copied is as large, up to 1 GiB: weights that fit into a processor's cache are measured there.
    together : int
        Threads that each measure at the same time, as batches are worked on; what they reach is added up.

    Returns
    -------
    Device
        By the best of nine rounds: a limit, not a habit.
    """
    with ThreadPoolExecutor(together) as pool:
        found = list(pool.map(lambda _: _measured(device, dtype, weight_bytes), range(together)))
    return Device(sum(one.bytes_per_s for one in found), sum(one.flops_per_s for one in found))


def _measured(device: Any, dtype: Any, weight_bytes: int) -> Device:
    """One thread of `measured_device`."""
    import torch

    source = torch.ones(min(weight_bytes, 2**30) // 4, dtype=torch.float32, device=device)
    copy = torch.empty_like(source)
    n = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(n, n, device=device, dtype=torch.float32).to(dtype) for _ in range(2))
    product = torch.empty_like(left)
    moved = _seconds(lambda: copy.copy_(source), device)
    multiplied = _seconds(lambda: torch.mm(left, right, out=product), device)
    return Device(2 * source.nbytes / moved, 2 * n**3 / multiplied)


def _seconds(call: Callable[[], Any], device: Any, rounds: int = 9, at_least: float = 0.005) -> float:
    """Give the shortest mean time of a call over rounds of some milliseconds, the device waited for."""
    import torch

    def timed(calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (time.perf_counter() - start) / calls

    timed(1)  # warms up
    calls = max(1, round(at_least / max(timed(1), 1e-7)))
    return min(timed(calls) for _ in range(rounds))
