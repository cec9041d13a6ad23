"""A SYNTHETIC bundle of any size, for measuring how the explorer bears one: invented scores of invented clips.

Nothing in it was measured, and every title says so. Its tables are those of the contract, with every input and scored
text; scores and tokens are written cell by cell, so that memory stays flat.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from precompute.bench.big_results import Findings
from precompute.bundle import SCHEMA, audio_file, plain
from precompute.conditions import CONDITIONS
from precompute.indicators import EXTRAS, INDICATORS
from precompute.tables import FLUSHED_ROWS

RATE = 16_000
SECONDS = 10.0
KINDS = (
    ("SYNTHETIC read speech, random halves", "speech", 0.0),
    ("SYNTHETIC read speech, later volume", "speech", 1.4),
    ("SYNTHETIC meetings", "speech", 0.0),
    ("SYNTHETIC telephone calls, two releases", "speech", 0.6),
    ("SYNTHETIC audio captions", "sound", 0.0),
    ("SYNTHETIC audio captions, another year", "sound", 1.8),
    ("SYNTHETIC music captions", "music", 0.3),
    ("SYNTHETIC voice commands", "speech", 0.0),
)
"""Title, task, and how far blind features move the members; repeated where more datasets are wanted."""

FAMILIES = ("metadata", "text", "acoustic", "fingerprint", "joint", "boosted")
FEATURES = 260
"""Columns of blind features beside the scores, about as many as an audit stores."""

MEMORY = (1.6, 0.4)
"""How much the targets remember, in turn."""

READS = {"original": 1.0, "silence": 0.0, "silence_fixed": 0.0, "noise": 0.03, "noise_fixed": 0.0, "resynthesis": 0.1}
"""Share of the memory that shows under each condition, on generated and carried text."""

TEXTS = ("generated", "carried", "reference")
END = "<|im_end|>"


@dataclass(frozen=True)
class Words:
    """Texts as numbers of words: flat, with the border of each text.

    Parameters
    ----------
    ids : np.ndarray [shape=(n_words,)]
    borders : np.ndarray [shape=(n_texts + 1,)]
    """

    ids: np.ndarray
    borders: np.ndarray

    def texts(self, vocabulary: np.ndarray) -> list[str]:
        """Texts, words joined by blanks."""
        words = vocabulary[self.ids]
        return [" ".join(words[a:b]) for a, b in zip(self.borders[:-1], self.borders[1:], strict=True)]

    def misheard(self, share: float, n_words: int, rng: np.random.Generator) -> Words:
        """Replace a share of the words by others."""
        wrong = rng.random(len(self.ids)) < share
        return Words(np.where(wrong, rng.integers(0, n_words, len(self.ids)), self.ids), self.borders)


def write(
    path: Path | str, datasets: int = 8, targets: int = 2, clips: int = 5000, heard: int = 200, seed: int = 0
) -> Path:
    """Write the bundle.

    Parameters
    ----------
    path : Path or str
        Folder, created where missing.
    datasets, targets : int, >= 1
    clips : int, >= 2
        Per dataset, half of them members.
    heard : int
        Clips of each dataset that have audio: noise of 10 s in the original and in every resynthesis, of which a
        few files are written and the rest are links to them.
    seed : int

    Returns
    -------
    Path
        The folder, complete: ``audit.json`` is written last.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    vocabulary = _vocabulary(rng)
    named = {f"synthetic-{number + 1}": KINDS[number % len(KINDS)] for number in range(datasets)}
    ids = [f"synthetic-target-{number + 1}" for number in range(targets)]
    findings = Findings(ids)
    tables: dict[str, pq.ParquetWriter] = {}
    for name, (_, task, shift) in named.items():
        words = _texts(clips, rng)
        table = _clips(name, task, words.texts(vocabulary), clips, trained=not shift)
        blind = _blind(table, shift, rng)
        findings.dataset(name, table, blind, FAMILIES)
        _append(tables, path, "clips", pa.Table.from_pandas(table, preserve_index=False))
        _append(tables, path, "blind", pa.Table.from_pandas(blind, preserve_index=False))
        for number, target in enumerate(ids):
            memory = MEMORY[number % len(MEMORY)] * table["trained"].to_numpy(float)
            held = []
            for scores, tokens in _cells(table, words, vocabulary, blind, target, memory, rng):
                findings.cell(scores)
                _append(tables, path, "scores", pa.Table.from_pandas(scores, preserve_index=False))
                held.append(tokens)
            _append(tables, path, "tokens", _as_written(held, rng), FLUSHED_ROWS)
        _write_audio(path, table["clip_id"].tolist(), heard, rng)
    for writer in tables.values():
        writer.close()
    documents = {
        "models": {name: {target: {} for target in ids} for name in named},
        "results": findings.tables(),
        "audit": _audit(named, ids, clips),
    }
    for name, document in documents.items():
        text = json.dumps(plain(document), ensure_ascii=False, allow_nan=False)
        (path / f"{name}.json").write_text(text, encoding="utf-8")
    return path


def _append(
    tables: dict[str, pq.ParquetWriter], path: Path, name: str, table: pa.Table, rows: int | None = None
) -> None:
    """Add a row group, or several of so many rows."""
    if name not in tables:
        tables[name] = pq.ParquetWriter(path / f"{name}.parquet", table.schema, compression="zstd")
    tables[name].write_table(table, row_group_size=rows or max(1, len(table)))


def _as_written(cells: list[pa.Table], rng: np.random.Generator, chunk: int = 100) -> pa.Table:
    """Put tokens into the order of an audit: chunks of clips in no order of their names, in each cell after cell."""
    count = len(cells[0])
    clips = rng.permutation(count)
    chunks = [clips[start : start + chunk] for start in range(0, count, chunk)]
    rows = [cell * count + part for part in chunks for cell in range(len(cells))]
    return pa.concat_tables(cells).combine_chunks().take(pa.array(np.concatenate(rows)))


def _vocabulary(rng: np.random.Generator, size: int = 3000) -> np.ndarray:
    """Invent words [shape=(size,)], each of one to four syllables."""
    starts, vowels, ends = list("bdfghklmnprstvwz"), ["a", "e", "i", "o", "u", "ai", "ou"], ["", "", "n", "r", "s", "t"]
    syllables = ["".join(rng.choice(part) for part in (starts, vowels, ends)) for _ in range(400)]
    words: dict[str, None] = {}
    while len(words) < size:
        words["".join(rng.choice(syllables, size=rng.integers(1, 5)))] = None
    return np.array(list(words), dtype=object)


def _texts(count: int, rng: np.random.Generator) -> Words:
    """Draw texts of 4 to 28 words, words by Zipf's law."""
    lengths = rng.integers(4, 29, count)
    borders = np.concatenate([[0], np.cumsum(lengths)])
    return Words((3000 * rng.random(borders[-1]) ** 3).astype(int), borders)


def _clips(name: str, task: str, texts: list[str], count: int, trained: bool) -> pd.DataFrame:
    labels = np.repeat([1, 0], [count - count // 2, count // 2])
    return pd.DataFrame(
        {
            "clip_id": [f"{name}/{i % 97:03d}-{(31 * i) % 1009:04d}-{i:05d}" for i in range(count)],
            "dataset": name,
            "label": labels,
            "trained": pd.array((labels == 1) & trained, "boolean"),
            "half": np.where(labels == 1, "A", "B"),
            "text": texts,
            "duration_s": np.array([round(0.37 * text.count(" ") + 1.1, 3) for text in texts], np.float32),
            "group": [f"{i % 97:03d}" for i in range(count)],
            "language": "en",
            "task": task,
            "audio_hash": [f"{2654435761 * (i + 1) % 2**64:016x}" for i in range(count)],
        }
    )


def _blind(clips: pd.DataFrame, shift: float, rng: np.random.Generator) -> pd.DataFrame:
    moved = shift * (clips["label"].to_numpy() - 0.5)
    table = clips[["clip_id", "dataset", "label"]].copy()
    scores = {f"{family}_score": _sigmoid(0.7 * rng.standard_normal(len(clips)) + 0.7 * moved) for family in FAMILIES}
    scores["propensity"] = scores["joint_score"]
    scores["overlap_weight"] = np.where(clips["label"] == 1, 1 - scores["propensity"], scores["propensity"])
    features = rng.standard_normal((len(clips), FEATURES)) + 0.3 * moved[:, None]
    names = [f"acoustic.invented_{i:03d}" for i in range(FEATURES)]
    return pd.concat(
        [
            table,
            pd.DataFrame(scores).astype(np.float32),
            clips[["duration_s"]].rename(columns=lambda name: f"metadata.{name}"),
            pd.DataFrame(features.astype(np.float32), columns=names),
        ],
        axis=1,
    )


def _cells(
    clips: pd.DataFrame,
    words: Words,
    vocabulary: np.ndarray,
    blind: pd.DataFrame,
    target: str,
    memory: np.ndarray,
    rng: np.random.Generator,
) -> Iterator[tuple[pd.DataFrame, pa.Table]]:
    """Scores and tokens of every input and text of a dataset and target."""
    joint = blind["joint_score"].to_numpy(float)
    easy = 0.8 * np.log(joint / (1 - joint))
    first = words
    for name, condition in CONDITIONS.items():
        for realization in range(condition.realizations):
            wrote = words.misheard({"original": 0.12, "resynthesis": 0.3}.get(name, 0.9), len(vocabulary), rng)
            first = wrote if name == "original" else first
            wer = np.add.reduceat(wrote.ids != words.ids, words.borders[:-1]) / np.diff(words.borders)
            for text in TEXTS:
                if (name, text) == ("original", "carried"):
                    continue
                share = max(READS[name], 0.4) if text == "reference" else READS[name]
                signal = 1.2 * share * (memory - memory.mean()) + share * easy + 0.6 * rng.standard_normal(len(clips))
                scored = {"generated": wrote, "carried": first, "reference": words}[text]
                keys = clips[["clip_id", "dataset", "label", "trained"]].assign(
                    target=target, condition=name, realization=realization, scored_text=text
                )
                headline = (name, text) == ("original", "generated")
                yield (
                    _scores(keys, scored.texts(vocabulary), wer, signal, easy * share, headline, rng),
                    _tokens(keys, scored, vocabulary, rng),
                )


def _scores(
    keys: pd.DataFrame,
    texts: list[str],
    wer: np.ndarray,
    signal: np.ndarray,
    easy: np.ndarray,
    headline: bool,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Rows of ``scores.parquet`` of one cell; one clip in a hundred has nothing scored."""
    names = (*INDICATORS, *EXTRAS)
    values = 2 - signal[:, None] / 3 + 0.3 * rng.standard_normal((len(keys), len(names)))
    scores = np.stack([_sigmoid(1.5 * signal), _sigmoid(1.2 * signal - 0.2), _sigmoid(1.5 * (signal - easy))], axis=1)
    scores[:, 2] = scores[:, 2] if headline else np.nan
    silent = rng.random(len(keys)) < 0.01
    scores[silent], values[silent] = np.nan, np.nan
    last = pd.DataFrame(
        scores.astype(np.float32), columns=["mia_score", "mia_score_transfer", "mia_score_adjusted"], index=keys.index
    )
    numbers = pd.DataFrame(values.astype(np.float32), columns=list(names), index=keys.index)
    counts = [text.count(" ") + 2 for text in texts]
    start = keys.assign(generated_text=texts, n_tokens=counts, wer=wer.astype(np.float32))
    return pd.concat([start, numbers, last], axis=1)


def _tokens(keys: pd.DataFrame, scored: Words, vocabulary: np.ndarray, rng: np.random.Generator) -> pa.Table:
    """Rows of ``tokens.parquet`` of one cell: a token per word, and the end."""
    count = len(scored.borders) - 1
    borders = (scored.borders + np.arange(count + 1)).astype(np.int32)
    ends = np.zeros(borders[-1], bool)
    ends[borders[1:] - 1] = True
    ids = np.full(len(ends), len(vocabulary))
    ids[~ends] = scored.ids
    pieces = pa.array([*(f" {word}" for word in vocabulary), END])
    numbers = {
        "nll": rng.exponential(0.5, len(ends)),
        "entropy": rng.exponential(0.8, len(ends)),
        "gap": rng.random(len(ends)),
    }
    lists = {
        "token": pieces.take(pa.array(ids)),
        **{name: pa.array(np.round(values, 4).astype(np.float32)) for name, values in numbers.items()},
    }
    table = pa.Table.from_pandas(
        keys[["clip_id", "target", "condition", "realization", "scored_text"]], preserve_index=False
    )
    for name, values in lists.items():
        table = table.append_column(name, pa.ListArray.from_arrays(pa.array(borders), values))
    return table


def _write_audio(path: Path, ids: list[str], heard: int, rng: np.random.Generator, distinct: int = 4) -> None:
    """Give evenly spaced clips audio; `distinct` files are written, the others are links to them."""
    from precompute.bundle import write_audio

    inputs = [("original", 0), *(("resynthesis", i) for i in range(CONDITIONS["resynthesis"].realizations))]
    chosen = [ids[i] for i in np.unique(np.linspace(0, len(ids) - 1, min(heard, len(ids))).astype(int))]
    for condition, realization in inputs:
        written: list[Path] = []
        for clip_id in chosen:
            if len(written) < distinct:
                written.append(write_audio(path, clip_id, condition, realization, _sound(rng), RATE))
                continue
            file = audio_file(path, clip_id, condition, realization)
            file.unlink(missing_ok=True)
            os.link(written[len(file.name) % distinct], file)


def _sound(rng: np.random.Generator) -> np.ndarray:
    """Noise that swells and fades with a few tones: about as hard to compress as speech."""
    time = np.arange(int(SECONDS * RATE)) / RATE
    envelope = np.abs(np.sin(2 * np.pi * rng.uniform(1, 3) * time)) ** 2
    tones = sum(np.sin(2 * np.pi * hertz * time) for hertz in rng.uniform(100, 2000, 4)) / 8
    return (envelope * (tones + 0.1 * rng.standard_normal(len(time)))).astype(np.float32)


def _audit(named: dict[str, tuple[str, str, float]], targets: list[str], clips: int) -> dict[str, Any]:
    """Contents of ``audit.json``."""
    said = "SYNTHETIC: invented scores of invented clips, to measure the explorer with. Nothing was measured."
    prompts = dict.fromkeys(("speech", "sound", "music"), "Say what is heard.")
    return {
        "schema": SCHEMA,
        "created": "2026-01-01T00:00:00+00:00",
        "part": "all",
        "seed": 0,
        "protocol": "single-pass",
        "reference_target": None,
        "targets": [
            {
                **{"id": name, "revision": "synthetic", "dtype": "float32", "family": "synthetic", "limits": None},
                **{"prompt": prompts["speech"], "prompts": prompts, "max_new_tokens": 64, "decoding": "greedy"},
                "trained_on": "nothing: its scores were invented",
            }
            for name in targets
        ],
        "datasets": [
            {
                **{"name": name, "title": title, "description": said, "task": task, "licence": "CC0"},
                **{"attribution": "invented", "truth": "By invention, members were trained on." if not shift else None},
                **{"n_member": clips - clips // 2, "n_non_member": clips // 2},
            }
            for name, (title, task, shift) in named.items()
        ],
        "conditions": [
            {
                "name": c.name,
                "realizations": c.realizations,
                "description": c.description,
                "fixed_seconds": 10.0 if c.fixed_length else None,
            }
            for c in CONDITIONS.values()
        ],
        "versions": {},
        "wall_seconds": 1.0,
    }


def _sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))
