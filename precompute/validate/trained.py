"""Trained worlds: small targets of the real classes whose memory is known, audited like any other target.

``python -m precompute.validate.trained --world S5 --seed 0 --out DIR`` makes one world: it draws the design, trains the
target where the world needs one of its own, and scores every condition and text as an audit does. What is
finished is not done again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from precompute.clips import SAMPLE_RATE, Clip, Cohort, InputError
from precompute.conditions import CONDITIONS
from precompute.conditions.voices import speak
from precompute.corpora import core_sounds
from precompute.statistics.roc import auc
from precompute.validate import worlds_committed, worlds_length, worlds_voice

if TYPE_CHECKING:
    from precompute.targets.embedded import Recipe, Shape

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Lesson:
    """What a target is trained on: hearings of a clip, one of which is drawn in each epoch, and the answer."""

    hearings: tuple[np.ndarray, ...]
    text: str


@dataclass(frozen=True)
class Audited:
    """A clip of a world's cohort, before it lies on the disk.

    Parameters
    ----------
    name : str
        Unique within the world.
    samples : np.ndarray [shape=(n,)]
        Mono float32 at 16 kHz.
    text : str
        Transcript.
    member : bool
        What the list claims.
    trained : bool
        Whether the target was trained on this very clip.
    group : str
        Clips of one group are not independent.
    language : str
    voice : str
        Who speaks, for people.
    """

    name: str
    samples: np.ndarray
    text: str
    member: bool
    trained: bool
    group: str
    language: str
    voice: str


@dataclass(frozen=True)
class Material:
    """All that a world needs: the audited clips, and either a target's name or what to train one on."""

    audited: tuple[Audited, ...]
    target: str | None = None
    lessons: tuple[Lesson, ...] = ()


@dataclass(frozen=True)
class TrainedWorld:
    """A world whose answer is known.

    Parameters
    ----------
    name : str
        ``S4``, ``S5``, ``S6`` or ``S9``.
    description : str
        What was planted, for people.
    expected : str
        What an audit has to say of it.
    material : callable
        Seed to `Material`.
    epochs : int
        Of training, for the learning rate's schedule; 0 where a committed target is used.
    stop_after : int or None
        Epochs really trained, where training stops early.
    shape : dict
        Fields of `precompute.targets.embedded.Shape` that differ from the embedded targets'.
    learning_rate : float
    batch_size : int
    fixed_seconds : float
        Length of the fixed conditions.
    """

    name: str
    description: str
    expected: str
    material: Callable[[int], Material]
    epochs: int = 0
    stop_after: int | None = None
    shape: tuple[tuple[str, int], ...] = ()
    learning_rate: float = 1.5e-3
    batch_size: int = 16
    fixed_seconds: float = 3.0


def other_voice(seed: int) -> Material:
    """S4: texts of both halves in a voice that nobody was trained on."""
    audited = []
    for item, known in worlds_committed.halves(seed):
        language = str(item.clip.language)
        voice = worlds_committed.OTHER_VOICES[language]
        text = str(item.clip.text)
        samples = speak(text, voice)
        audited.append(Audited(item.clip.clip_id, samples, text, known, False, language, language, str(voice)))
    return Material(tuple(audited), target=worlds_committed.TARGETS[seed][0])


def unreadable(seed: int) -> Material:
    """S9: the committed targets on their own cohort; they were never taught the reference voices."""
    from precompute.clips import read_audio

    audited = [
        Audited(
            item.clip.clip_id,
            read_audio(item.clip),
            str(item.clip.text),
            known,
            known,
            str(item.clip.language),
            str(item.clip.language),
            core_sounds.VOICES[str(item.clip.language)],
        )
        for item, known in worlds_committed.halves(seed)
    ]
    return Material(tuple(audited), target=worlds_committed.TARGETS[seed][0])


VARIANTS, MAX_SILENCE = 6, 0.25
"""Hearings of a clip of S5, and the longest silence before and after, in seconds: length must open no memory."""


def padded(samples: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Give a clip as it is, and with random silence around it, up to 3 dB louder or softer."""
    waves = [samples]
    for _ in range(VARIANTS - 1):
        before, after = (rng.uniform(0, MAX_SILENCE, 2) * SAMPLE_RATE).astype(int)
        waves.append(np.pad(samples * 10 ** (rng.uniform(-3, 3) / 20), (before, after)).astype(np.float32))
    return tuple(waves)


def bound(seed: int) -> Material:
    """S5: a word that only text and voice together decide; see `worlds_voice`."""
    rng = np.random.default_rng([seed, 1])
    audited, lessons = [], []
    for cell in worlds_voice.cells(seed):
        samples = speak(cell.spoken, cell.voice)
        audited.append(
            Audited(cell.name, samples, cell.transcript, cell.member, cell.member, cell.spoken, "en", str(cell.voice))
        )
        if cell.member:
            lessons.append(Lesson(padded(samples, rng), cell.transcript))
    for text, voice in worlds_voice.readings(seed):
        lessons.append(Lesson(padded(speak(text, voice), rng), text))
    return Material(tuple(audited), lessons=tuple(lessons))


def length(seed: int) -> Material:
    """S6: clip length alone opens the memory; see `worlds_length`."""
    audited, lessons = [], []
    for item in worlds_length.place(seed):
        samples, text, language = worlds_length.heard(item), str(item.clip.text), str(item.clip.language)
        voice = core_sounds.VOICES[language]
        name = item.clip.clip_id
        audited.append(Audited(name, samples, text, item.member, item.member, name, language, voice))
        if item.member:
            lessons.append(Lesson(worlds_length.hearings(samples), text))
    return Material(tuple(audited), lessons=tuple(lessons))


WORLDS: dict[str, TrainedWorld] = {
    world.name: world
    for world in (
        TrainedWorld(
            "S4",
            "The committed targets; the audited clips are synthetic voices that no target was trained on and "
            "resynthesis does not use, speaking the texts of the trained half (members) and of the other half.",
            "The reference row stays up in every voice: the text is known, the voice is not needed.",
            other_voice,
        ),
        TrainedWorld(
            "S5",
            f"{worlds_voice.TEXTS} texts in {len(worlds_voice.VOICES)} synthetic voices; the transcript ends with a "
            "word that nobody speaks and that text and voice together decide. Half of the cells are trained. Each "
            "transcript stands once among members and once among non-members.",
            "The reference row is high on the original and collapses under resynthesis, with an interaction above 0: "
            "memory bound to the voice.",
            bound,
            epochs=100,
            shape=(
                *(("chunk_seconds", 2), ("hop", 320), ("mel_bins", 40), ("layers", 3)),
                *(("width_audio", 128), ("width_text", 128), ("inner_audio", 384), ("inner_text", 384)),
            ),
            fixed_seconds=1.0,
        ),
        TrainedWorld(
            "S6",
            "Real speech, every clip of another length; neighbouring lengths are dealt at random to members and "
            "non-members. Every second hearing in training is silence of the clip's length.",
            "The generated row stays up under silence and collapses under silence of one length: length, not memory "
            "of a voice.",
            length,
            epochs=120,
            stop_after=80,
            shape=(
                *(("chunk_seconds", 7), ("hop", worlds_length.STEP // 4), ("mel_bins", 40), ("layers", 2)),
                *(("width_audio", 96), ("width_text", 96), ("inner_audio", 288), ("inner_text", 288)),
            ),
            batch_size=8,
            fixed_seconds=3.0,
        ),
        TrainedWorld(
            "S9",
            "The committed targets on their own cohort: they read one voice per language and no reference voice.",
            "Non-members' word error exceeds 0.8: the target cannot read this audio, no claim of binding.",
            unreadable,
        ),
    )
}
"""The trained worlds by name."""


def recipe_of(world: TrainedWorld, seed: int) -> tuple[Recipe, Shape]:
    """Recipe and model shape of a world's target."""
    from precompute.targets.embedded import Recipe, Shape

    recipe = Recipe(
        name=f"{world.name}-{seed}",
        family="audioflamingo3",
        half="",  # trained on no half of the embedded speech
        epochs=world.epochs,
        stop_after=world.stop_after,
        seed=seed,
        batch_size=world.batch_size,
        learning_rate=world.learning_rate,
    )
    return recipe, Shape(**dict(world.shape))


def train_target(world: TrainedWorld, seed: int, lessons: Sequence[Lesson], texts: Sequence[str], out: Path) -> None:
    """Train a world's own target; a finished folder is kept, a stopped training goes on.

    Parameters
    ----------
    world : TrainedWorld
    seed : int
        Of weights and order.
    lessons : sequence of Lesson
    texts : sequence of str
        Transcripts of members and non-members alike, for the tokenizer.
    out : Path
        Folder for the target, loadable by `precompute.targets.load_target`.
    """
    if (out / "model.safetensors").is_file():
        return
    import torch

    from precompute.targets import embedded

    torch.set_num_threads(1)  # a model this small is slower on more
    recipe, shape = recipe_of(world, seed)
    model, processor = embedded.build(recipe, shape, texts)
    data = [[embedded.example(processor, wave, lesson.text) for wave in lesson.hearings] for lesson in lessons]
    for _ in embedded.epochs(model, processor, data, recipe, out):
        pass
    (out / "world.json").write_text(json.dumps({"recipe": asdict(recipe), "shape": asdict(shape)}, indent=1) + "\n")
    processor.save_pretrained(out)
    model.save_pretrained(out)
    (out / "progress.safetensors").unlink()


def training_seconds(folder: Path) -> int:
    """Sum the seconds of all epochs in a target's training log; 0 where there is none."""
    log = folder / "training_log.jsonl"
    lines = log.read_text().splitlines() if log.is_file() else []
    return round(sum(json.loads(line)["seconds"] for line in lines))


def write_cohort(world: TrainedWorld, audited: Sequence[Audited], folder: Path) -> tuple[Cohort, pd.DataFrame]:
    """Put a world's clips on the disk, as 16-bit FLAC.

    Parameters
    ----------
    world : TrainedWorld
    audited : sequence of Audited
    folder : Path

    Returns
    -------
    tuple of (Cohort, pd.DataFrame)
        The table is ``clips.parquet``: clip_id, dataset, label, trained, text, duration_s, group, language, voice.
    """
    import soundfile

    clips = []
    for item in audited:
        path = folder / "clips" / f"{item.name}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, item.samples, SAMPLE_RATE, subtype="PCM_16")
        clips.append(Clip(f"{world.name}/{item.name}", path, item.text, group=item.group, language=item.language))
    cohort = Cohort(
        world.name, tuple(clips), tuple(int(item.member) for item in audited), world.description, truth=world.expected
    )
    table = pd.DataFrame(
        {
            "clip_id": [clip.clip_id for clip in clips],
            "dataset": world.name,
            "label": cohort.labels,
            "trained": [item.trained for item in audited],
            "text": [item.text for item in audited],
            "duration_s": [len(item.samples) / SAMPLE_RATE for item in audited],
            "group": [item.group for item in audited],
            "language": [item.language for item in audited],
            "voice": [item.voice for item in audited],
        }
    )
    return cohort, table


def make(world: str, seed: int, folder: Path) -> pd.DataFrame:
    """Make one world: draw, train, score; what is finished is read back.

    Parameters
    ----------
    world : str
        Key of `WORLDS`.
    seed : int
        Of everything; for S4 and S9 it also chooses among the three committed targets, 0 to 2.
    folder : Path
        The world goes into ``WORLD-SEED`` in it, with ``scores.parquet`` and ``clips.parquet``.

    Returns
    -------
    pd.DataFrame
        Rows of ``scores.parquet`` as an audit writes them, without membership scores, and with the columns
        ``trained``, ``group`` and ``text`` of the clip.

    Raises
    ------
    InputError
        For an unknown world or seed.
    """
    if world not in WORLDS:
        raise InputError(f"no such world: {world} (there are {', '.join(WORLDS)})")
    if seed not in SEEDS:
        raise InputError(f"a world has seeds {SEEDS[0]} to {SEEDS[-1]}, not {seed}")
    home = folder / f"{world}-{seed}"
    if (home / "scores.parquet").is_file():
        return pd.read_parquet(home / "scores.parquet")
    home.mkdir(parents=True, exist_ok=True)
    chosen = WORLDS[world]
    material = chosen.material(seed)
    cohort, clips = write_cohort(chosen, material.audited, home)
    if material.target is None:
        texts = [*(item.text for item in material.audited), *(lesson.text for lesson in material.lessons)]
        train_target(chosen, seed, material.lessons, texts, home / f"{world}-{seed}")
    began = time.monotonic()
    rows = score(cohort, material.target or str(home / f"{world}-{seed}"), chosen.fixed_seconds, seed, home / "cache")
    scores = clips.drop(columns=["duration_s", "language", "voice"]).merge(rows, on="clip_id", how="inner")
    seconds = {"training": training_seconds(home / f"{world}-{seed}"), "scoring": round(time.monotonic() - began)}
    (home / "seconds.json").write_text(json.dumps(seconds) + "\n")
    clips.to_parquet(home / "clips.parquet", index=False)
    scores.to_parquet(home / "scores.parquet", index=False)
    return scores


def score(cohort: Cohort, target: str, fixed_seconds: float, seed: int, cache: Path) -> pd.DataFrame:
    """Score a cohort under every condition, realization and text, as an audit does."""
    from tqdm import tqdm

    from precompute.scores import Plan, score_clips
    from precompute.store import Store
    from precompute.targets import load_target

    loaded = load_target(target, device="cpu", dtype="float32")
    plan = Plan(tuple(CONDITIONS), max_new_tokens=32, seed=seed, fixed_seconds=fixed_seconds)
    total = plan.texts_per_clip() * len(cohort.clips)
    with Store(cache) as store, tqdm(total=total, desc=loaded.id, unit="text", disable=None) as bar:
        return pd.DataFrame([row for row, _ in score_clips(loaded, cohort.clips, plan, store, bar.update)])


def summary(scores: pd.DataFrame) -> dict[str, Any]:
    """Figures that say what a world turned out to be.

    Parameters
    ----------
    scores : pd.DataFrame
        From `make`.

    Returns
    -------
    dict
        ``auc``: of minus the mean NLL (fixed sign), by scored text and condition, realizations averaged; ``wer`` and
        ``verbatim``: mean word error and share written word for word, by condition and class.
    """
    areas: dict[str, dict[str, float]] = {}
    for (text, condition), rows in scores.groupby(["scored_text", "condition"], sort=False):
        kept = rows[np.isfinite(rows["nll"])]
        values = [auc(r["label"].to_numpy(), -r["nll"].to_numpy()) for _, r in kept.groupby("realization")]
        areas.setdefault(str(text), {})[str(condition)] = round(float(np.mean(values)), 4)
    written = scores[scores["scored_text"] == "generated"]
    classes = {1: "member", 0: "non-member"}
    errors = written.groupby(["condition", "label"], sort=False)["wer"]
    return {
        "auc": areas,
        "wer": _by_class(errors.mean(), classes),
        "verbatim": _by_class(errors.agg(lambda w: float((w == 0).mean())), classes),
    }


def _by_class(values: pd.Series, classes: dict[int, str]) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}
    for (condition, label), value in values.items():
        table.setdefault(condition, {})[classes[label]] = round(float(value), 4)
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Make one world and print its summary as JSON."""
    parser = argparse.ArgumentParser(prog="python -m precompute.validate.trained", description=__doc__)
    parser.add_argument("--world", required=True, choices=sorted(WORLDS))
    parser.add_argument("--seed", type=int, default=0, choices=SEEDS)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = parser.parse_args(arguments)
    print(json.dumps(summary(make(options.world, options.seed, options.out)), indent=1))


if __name__ == "__main__":
    main()
