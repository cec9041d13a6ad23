"""Scoring: the paper's protocol written plainly against ours, on the same clips, in turn."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from precompute import heap
from precompute.bench.child import in_child
from precompute.bench.figures import Part, Size
from precompute.bench.machine import peak_memory_mb
from precompute.bench.plain import Input, PlainRow, plain_rows
from precompute.bench.roofline import Reading, costs_of, least_seconds, measured_device
from precompute.bench.timing import Times, interleaved, rate, ratio
from precompute.clips import Clip, InputError, content_hash, read_audio
from precompute.conditions import CONDITIONS, Rendering
from precompute.conditions.voices import Studio
from precompute.indicators import INDICATORS, TokenStats
from precompute.rendered import rendered
from precompute.scores import Plan, score_clips
from precompute.store import Store
from precompute.targets.base import PROMPTS
from precompute.work import BatchSize, side_by_side

TARGET = "tiny-audio-flamingo"
DISTINCT = tuple(name for name in CONDITIONS if name != "silence_fixed")
"""Conditions under which clips of different length give no two equal inputs."""

OursRows = list[tuple[dict[str, Any], TokenStats]]


@dataclass(frozen=True)
class Ready:
    """Clips with the audio of every input made beforehand, which both sides find.

    Parameters
    ----------
    clips : list of Clip
    audios : list of dict of (str, int) to np.ndarray [shape=(n_samples,)]
        Of each clip, by condition and realization; the original is left to be read.
    cache : Path
        Folder of a closed store that holds the resyntheses and no score.
    """

    clips: list[Clip]
    audios: list[dict[Input, np.ndarray]]
    cache: Path


def measure(size: Size) -> Part:
    """Compare both ways to score.

    Parameters
    ----------
    size : Size

    Returns
    -------
    Part
    """
    rounds, count = size.pick(2, 4), size.pick(8, 80)
    target = loaded()
    part = Part(
        f"Scoring, embedded target {TARGET}",
        "Plain: one clip at a time, greedy decoding, then one full pass for each text with all logits kept, torch on "
        "every core. Ours: "
        "`score_clips` into an empty store. The audio of all inputs is made beforehand for both; both read the clips. "
        "Clips differ in length, silence_fixed is left out and each clip's known text is another's, so that no two "
        "inputs and no two texts under one input are equal.",
    )
    with tempfile.TemporaryDirectory() as folder, Studio() as studio:
        chosen = choose(rounds * count)
        made = [
            prepare(with_other_texts(chosen[number * count :][:count]), DISTINCT, Path(folder) / f"{number}", studio)
            for number in range(rounds)
        ]
        own = prepare(chosen[:count], CONDITIONS, Path(folder) / "own", studio)
        plan, whole = Plan(DISTINCT), Plan(tuple(CONDITIONS))
        warm_up(target, made[0], plan, studio)
        times, results = interleaved(
            {
                "plain": lambda number: plain_side(target, made[number], plan),
                "ours": lambda number: our_side(target, made[number], plan, studio),
            },
            rounds,
        )
        n = f"{rounds} rounds of {count} clips under {len(plan.inputs())} inputs"
        _speeds(part, times, results, count, n)
        add_agreement(
            part, [row for one in results for row in one["plain"]], [row for one in results for row in one["ours"]]
        )
        _equal_inputs(part, target, own, whole, studio, ratio(times["plain"].cpu, times["ours"].cpu))
        _memory(part, made[0])
        rows = BatchSize.of(None, target).rows
        add_roofline(part, target, results[-1]["ours"], heard(made[-1], plan), times["ours"].wall[-1], rows)
    return part


def loaded() -> Any:
    """Load the embedded target where transformers would put it by default."""
    from precompute.targets import load_target

    return load_target(TARGET)


def choose(count: int, least: float = 1.0, most: float = 6.0) -> list[Clip]:
    """Take clips of the embedded speech, no two of one length, in an order without meaning.

    Parameters
    ----------
    count : int
    least, most : float
        Seconds.

    Returns
    -------
    list of Clip

    Raises
    ------
    InputError
        If there are not so many.
    """
    from precompute.corpora import core_sounds

    by_length = {
        round(one.seconds * 8000): one.clip
        for one in core_sounds.distinct(core_sounds.TRAINED_LANGUAGES)
        if least <= one.seconds <= most
    }
    clips = list(by_length.values())
    if len(clips) < count:
        raise InputError(f"the embedded speech has {len(clips)} clips of different length, {count} are wanted")
    order = np.random.default_rng(0).permutation(len(clips))[:count]
    return [clips[index] for index in order]


def with_other_texts(clips: Sequence[Clip]) -> list[Clip]:
    """Give each clip the text of another, which the target hardly writes by itself."""
    return [
        replace(clip, text=next(other.text for other in (*clips[index:], *clips[:index]) if other.text != clip.text))
        for index, clip in enumerate(clips)
    ]


def prepare(clips: Sequence[Clip], conditions: Iterable[str], cache: Path, studio: Studio | None) -> Ready:
    """Make the audio of every input, and keep the slow part in a store."""
    plan = Plan(tuple(conditions))
    audios: list[dict[Input, np.ndarray]] = [{} for _ in clips]
    with Store(cache) as store:
        for name, realization in plan.inputs()[1:]:
            jobs = [Rendering(name, clip, read_audio(clip), realization, plan.seed) for clip in clips]
            for clip, one, samples in zip(clips, audios, rendered(jobs, store, studio), strict=True):
                if samples is None:
                    raise InputError(f"{clip.clip_id}: cannot be rendered as {name}")
                one[name, realization] = samples
    return Ready(list(clips), audios, cache)


def heard(ready: Ready, plan: Plan) -> dict[str, dict[Input, np.ndarray]]:
    """Give the audio of every input of a plan, the original first, by clip_id."""
    wanted = plan.inputs()[1:]
    return {
        clip.clip_id: {("original", 0): read_audio(clip), **{one: audios[one] for one in wanted}}
        for clip, audios in zip(ready.clips, ready.audios, strict=True)
    }


def plain_side(target: Any, ready: Ready, plan: Plan) -> list[tuple[str, PlainRow]]:
    """Score all clips plainly; rows with their clip_id."""
    prompt, audios = plan.prompt_for(target, "speech"), heard(ready, plan)
    with every_core():
        return [
            (clip.clip_id, row)
            for clip in ready.clips
            for row in plain_rows(target, audios[clip.clip_id], clip.text, prompt, plan.max_new_tokens)
        ]


@contextmanager
def every_core() -> Iterator[None]:
    """Let torch share each product out to every core, which is the fastest way with one clip at a time."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def our_side(target: Any, ready: Ready, plan: Plan, studio: Studio | None) -> OursRows:
    """Score all clips our way, from a store that holds no score and with nothing remembered."""
    target.forget()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ready.cache, folder, dirs_exist_ok=True)
        with Store(folder) as store:
            return list(score_clips(target, ready.clips, plan, store, lambda _: None, studio))


def warm_up(target: Any, ready: Ready, plan: Plan, studio: Studio | None) -> None:
    """Let both sides do what is only done once in a process."""
    few = Ready(ready.clips[:8], ready.audios[:8], ready.cache)
    plain_side(target, few, plan)
    our_side(target, few, plan, studio)


def _speeds(part: Part, times: Mapping[str, Times], results: Sequence[Mapping[str, Any]], clips: int, n: str) -> None:
    """Clips, texts and tokens per second of both sides, and their ratio."""
    rounds = len(results)
    texts = [len(one["ours"]) for one in results]
    tokens = [sum(stats.n_tokens for _, stats in one["ours"]) for one in results]
    for side in ("plain", "ours"):
        for what, counts in (("clips", [clips] * rounds), ("texts", texts), ("tokens", tokens)):
            part.add(f"{side}: {what}", rate(counts, times[side].wall), f"{what}/s by the clock", n)
        part.add(f"{side}: processor time", median(times[side].cpu) / clips, "s/clip", n)
    part.add("ours against plain, by the clock", ratio(times["plain"].wall, times["ours"].wall), "times", n)
    part.add("ours against plain, processor time", ratio(times["plain"].cpu, times["ours"].cpu), "times", n)


def add_agreement(part: Part, plain: Sequence[tuple[str, PlainRow]], ours: OursRows) -> None:
    """Compare both sides' ids and, where those agree, the 30 indicators.

    Parameters
    ----------
    part : Part
        Gets three figures. `renyi_0` counts vocabulary entries above a threshold, so rounding moves it in steps: it
        stands apart.
    plain : sequence of (str, PlainRow)
        With the clip_id.
    ours : list of (dict, TokenStats)
    """
    keys = ("clip_id", "condition", "realization", "scored_text")
    known = {tuple(row[key] for key in keys): (row, stats) for row, stats in ours}
    same = 0
    worst = dict.fromkeys(INDICATORS, 0.0)
    for clip_id, one in plain:
        row, stats = known[clip_id, one.condition, one.realization, one.scored_text]
        if one.ids != stats.ids.tolist():
            continue
        same += 1
        for name in INDICATORS:
            worst[name] = max(worst[name], abs(one.values[name] - row[name]))
    n = f"{same} texts"
    part.add("texts with equal token ids", same / len(plain), "share", f"{len(plain)} texts")
    smooth = max((name for name in INDICATORS if not name.startswith("renyi_0")), key=lambda name: worst[name])
    part.add(f"largest difference of 27 indicators ({smooth})", worst[smooth], "", n)
    steps = max(value for name, value in worst.items() if name.startswith("renyi_0"))
    part.add("largest difference of renyi_0 (a count, so it moves in steps)", steps, "nats", n)


def _equal_inputs(part: Part, target: Any, ready: Ready, plan: Plan, studio: Studio | None, without: float) -> None:
    """Add an input that all clips share and their own texts, which may be what the target writes anyway."""
    times, _ = interleaved(
        {"plain": lambda _: plain_side(target, ready, plan), "ours": lambda _: our_side(target, ready, plan, studio)}, 1
    )
    audios = [audio for one in heard(ready, plan).values() for audio in one.values()]
    distinct = len({content_hash(audio) for audio in audios})
    n = f"1 round of {len(ready.clips)} clips under {len(plan.inputs())} inputs"
    found = ratio(times["plain"].cpu, times["ours"].cpu)
    part.add("with silence_fixed, the same for all clips, and the clips' own texts: processor time", found, "times", n)
    part.add("what scoring equal inputs and equal texts once adds", found / without, "times", n)
    part.add("distinct inputs", distinct, f"of {len(audios)}", n)


def _memory(part: Part, ready: Ready) -> None:
    """Peak memory of each side, in processes of their own, over what loading and reading takes."""
    ids = [clip.clip_id for clip in ready.clips]
    n = f"{len(ids)} clips, a process of its own"
    for side in ("plain", "ours"):
        done = in_child("precompute.bench.scoring:one_side", side=side, ids=ids, cache=str(ready.cache))
        before = done["result"]["before_mb"]
        part.add(f"{side}: peak memory", done["peak_mb"], "MB", n)
        part.add(f"{side}: of it over model and audio", done["peak_mb"] - before, "MB", n)


def one_side(side: str, ids: Sequence[str], cache: str) -> dict[str, float]:
    """Do ``plain`` or ``ours`` in a process of its own; give its peak memory before, in MB, and the count of texts."""
    from precompute.corpora import core_sounds

    known = {one.clip.clip_id: one.clip for one in core_sounds.distinct(core_sounds.TRAINED_LANGUAGES)}
    plan = Plan(DISTINCT)
    target = loaded()
    with tempfile.TemporaryDirectory() as folder, Studio() as studio, heap.given_back():  # as in an audit
        shutil.copytree(cache, folder, dirs_exist_ok=True)
        ready = prepare([known[one] for one in ids], DISTINCT, Path(folder), studio)
        before = peak_memory_mb()
        if side == "plain":
            return {"before_mb": before, "texts": len(plain_side(target, ready, plan))}
        return {"before_mb": before, "texts": len(our_side(target, ready, plan, studio))}


def readings_of(target: Any, ours: OursRows, audios: Mapping[str, Mapping[Input, np.ndarray]]) -> list[Reading]:
    """Say of every distinct audio what was asked about it.

    Parameters
    ----------
    target : ChatTarget
    ours : list of (dict, TokenStats)
    audios : mapping of str to mapping
        By clip_id, then by condition and realization.

    Returns
    -------
    list of Reading
    """
    given: dict[str, dict[tuple[int, ...], int]] = {}
    written: dict[str, int] = {}
    sound: dict[str, np.ndarray] = {}
    for row, stats in ours:
        audio = audios[row["clip_id"]][row["condition"], row["realization"]]
        name = content_hash(audio)
        sound[name] = audio
        if row["scored_text"] == "generated":
            written[name] = stats.n_tokens
        else:
            given.setdefault(name, {})[tuple(stats.ids.tolist())] = stats.n_tokens
    found = []
    for name, audio in sound.items():
        inputs = target.inputs([audio], PROMPTS["speech"])
        ids = inputs["input_ids"][0].tolist()
        heard = float(inputs["input_features_mask"].float().mean(-1).sum())
        texts = tuple(given.get(name, {}).values())
        shared = ids.index(target.model.config.audio_token_id)
        found.append(Reading(heard, len(ids), written.get(name, 0), texts, shared))
    return found


def add_roofline(
    part: Part,
    target: Any,
    ours: OursRows,
    audios: Mapping[str, Mapping[Input, np.ndarray]],
    seconds: float,
    rows: int,
) -> None:
    """Work out the least time for one round's work, and which share of it is attained.

    Parameters
    ----------
    part : Part
        Gets what the model costs, what the device was measured to do, the least time and the share.
    target : ChatTarget
    ours : list of (dict, TokenStats)
        Of the round.
    audios : mapping of str to mapping
        By clip_id, then by condition and realization.
    seconds : float
        The round took, by the clock.
    rows : int
        Audio of a batch.
    """
    import torch

    model = target.model
    costs = costs_of(model)
    together = len(side_by_side(target))
    device = measured_device(model.device, model.dtype, costs.encoder_bytes + costs.decoder_bytes, together)
    readings = readings_of(target, ours, audios)
    least = least_seconds(costs, device, readings, rows)
    n = f"{model.dtype}, {model.device}"
    if model.device.type == "cpu":
        part.add("ours: threads of torch", torch.get_num_threads(), "for a batch", "small models run on one")
        part.add("ours: batches under way at once", together, "", "a thread each")
    part.add("decoder: arithmetic", costs.token_flops / 1e6, "MFLOP/token", "configuration")
    part.add("decoder: weights read by a step", costs.decoder_bytes / 1e6, "MB", "configuration")
    part.add("encoder: arithmetic", costs.encoder_flops / 1e6, "MFLOP/window", "configuration")
    part.add("keys and values", costs.cache_bytes / 1e3, "kB/position", "configuration")
    part.add("memory bandwidth, copying as much as the weights", device.bytes_per_s / 1e9, "GB/s", n)
    part.add("matrix product", device.flops_per_s / 1e9, "GFLOP/s", n)
    work = f"{len(readings)} audios in batches of {rows}, {len(ours)} texts"
    for phase, value in least.items():
        part.add(f"least time for {phase}", value, "s", work)
    part.add("time taken", seconds, "s", work)
    part.add("share of what bandwidth and arithmetic allow", sum(least.values()) / seconds, "share", work)
