"""The audit, readable as the paper's Figure 1: blind baselines, membership inference, disentanglement, bundle."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from precompute import attack, blind, evidence, heap, results
from precompute.blind.extract import feature_table
from precompute.bundle import plain, write_audio, write_bundle, write_original
from precompute.clips import SAMPLE_RATE, Clip, Cohort, InputError
from precompute.conditions import CONDITIONS, Rendering
from precompute.conditions.fidelity import fidelity
from precompute.conditions.intelligibility import Listener
from precompute.conditions.voices import Studio
from precompute.given import given_scores
from precompute.indicators import TokenStats
from precompute.rendered import rendered
from precompute.request import Request, check_cohorts, cohorts_of, fingerprint_of, is_finished, unique_clips
from precompute.scores import missing_works, score_clips
from precompute.scoring import stats_to_arrays
from precompute.store import Store
from precompute.tables import ORIGINAL, TOKEN_KEYS, TOKEN_LISTS, Columns, Scored, Writer, without
from precompute.targets import check_name, target_folder
from precompute.truth import half_of, is_embedded, trained_on, training

if TYPE_CHECKING:
    from precompute.targets.base import Target


def run(request: Request) -> Path:
    """Run the three phases and write the bundle; what the cache or a finished bundle holds is not done again.

    Parameters
    ----------
    request : Request

    Returns
    -------
    Path
        The bundle folder.

    Raises
    ------
    InputError
        If a dataset, a target or a clip cannot be used.
    """
    began = time.monotonic()
    for name in [*request.names, *([request.asr_target] if request.asr_target else [])]:
        check_name(name)
    cohorts = cohorts_of(request)
    check_cohorts(cohorts)
    fingerprint = fingerprint_of(request, cohorts)
    if is_finished(request.out, fingerprint):
        return request.out
    clips = unique_clips(cohorts)
    brought = [] if request.scores is None else given_scores(request.scores, cohorts)
    with (
        heap.given_back(),
        Store(request.cache) as store,
        Studio(request.device) as studio,
        scratch(request.cache) as parts,
    ):
        measured(clips, store, parts / "features.parquet")
        scores, tokens, targets = Scored(parts, cohorts), Writer(parts / "tokens.parquet", lists=True), []
        for name in request.names:
            targets.append(score_target(name, clips, request, store, studio, scores, tokens))
        tokens.close()
        brought_targets = take_given(request, brought, targets, scores)
        written = written_texts(clips, scores, targets)
        write_listening_audio(request, clips, store, studio, written)
        faithful = resynthesis_fidelity(request, cohorts, store, studio, written, scores)
        targets += brought_targets
        given = [description["id"] for _, description in brought]
        features = pd.read_parquet(parts / "features.parquet")
        hashes = features.pop("audio_hash")
        clip_table, datasets = clips_table(cohorts, features, hashes), [described(cohort) for cohort in cohorts]
        del cohorts, clips, hashes  # what follows reads tables
        folds = {str(name): attack.dataset_folds(part, request.seed) for name, part in clip_table.groupby("dataset")}
        add_membership(scores, folds, given)
        blind_rows, blind_models = blind_baselines(clip_table, features, folds)
        blind_table = Columns.keep(parts / "blind.arrow", blind_rows)
        del features, blind_rows  # a kilobyte of each clip
        findings = evidence.find(clip_table, scores, blind_table, request.seed, given)
        adjustment = add_adjustment(scores, findings)
        models = results.build_models(scores, blind_models, folds, given)
        audit = describe(request, datasets, targets, fingerprint, time.monotonic() - began)
        made = results.build_results(clip_table, scores, blind_table, audit, models, findings)
        del findings
        write_bundle(
            request.out,
            audit=audit,
            clips=clip_table,
            scores=scores,
            blind=beside(blind_table.whole(), adjustment),
            tokens=parts / "tokens.parquet" if request.names else pd.DataFrame(columns=[*TOKEN_KEYS, *TOKEN_LISTS]),
            models=models,
            results=made | {"fidelity": plain(faithful)},
        )
    return request.out


def measured(clips: Sequence[Clip], store: Store, path: Path) -> None:
    """Put the blind features and the hash of each clip's audio aside, for after the targets."""
    features, hashes = feature_table(clips, store)
    features.assign(audio_hash=pd.Series(hashes)).to_parquet(path)


@contextlib.contextmanager
def scratch(cache: Path) -> Iterator[Path]:
    """Folder for the rows of one audit, removed in the end; what a killed audit left there goes first."""
    folder = cache / "rows"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def take_given(
    request: Request,
    brought: Sequence[tuple[pd.DataFrame, dict[str, Any]]],
    targets: Sequence[Mapping[str, Any]],
    scores: Scored,
) -> list[dict[str, Any]]:
    """Put scores made elsewhere beside those made here; give the descriptions of their targets."""
    if taken := {row["id"] for row in targets} & {row["id"] for _, row in brought}:
        raise InputError(f"{request.scores}: {min(taken)} is the name of a target scored here; give the scores another")
    for rows, description in brought:
        scores.give(description["id"], rows)
    return [description for _, description in brought]


def add_membership(scores: Scored, folds: attack.Folds, given: Sequence[str]) -> None:
    """Attack every cell; scores made elsewhere are taken as they are."""
    for dataset, target in tqdm(without(scores, given), desc="attack", unit="target", disable=None):
        for key, columns in attack.cell_scores(scores.cells(dataset, target), folds[dataset]):
            scores.add(dataset, target, key, columns)


def add_adjustment(scores: Scored, findings: evidence.Findings) -> pd.DataFrame:
    """Put the adjusted attack's scores beside the raw ones; give what goes beside the blind scores.

    Parameters
    ----------
    scores : Scored
        Gets `mia_score_adjusted` in the cells of original audio and generated text.
    findings : Findings

    Returns
    -------
    pd.DataFrame
        `propensity` and `overlap_weight` per `clip_id` and `dataset`.
    """
    for (name, target), headline in findings.headlines.items():
        ids = findings.datasets[name].clips["clip_id"].to_numpy()
        column = {"mia_score_adjusted": attack.sigmoid(headline.adjusted_score)}
        scores.add(name, target, ORIGINAL, pd.DataFrame(column, index=ids))
    weights = [
        pd.DataFrame(
            {
                "clip_id": findings.datasets[name].clips["clip_id"],
                "dataset": name,
                "propensity": overlap.fitted.chance,
                "overlap_weight": overlap.fitted.weights,
            }
        )
        for name, overlap in findings.overlaps.items()
    ]
    return pd.concat(weights)


def beside(rows: pd.DataFrame, adjustment: pd.DataFrame) -> pd.DataFrame:
    """Put propensities and weights beside blind scores and features, none of which is copied."""
    columns = rows[["clip_id", "dataset"]].merge(adjustment, on=["clip_id", "dataset"], how="left")
    return pd.concat([rows, columns[["propensity", "overlap_weight"]]], axis=1)


def score_target(
    name: str,
    clips: Sequence[Clip],
    request: Request,
    store: Store,
    studio: Studio,
    scores: Scored,
    tokens: Writer,
) -> dict[str, Any]:
    """Phases 2 and 3 for one target: write rows of scores and of tokens; give the target's description."""
    target = request.take(name)
    exposure = training(target_folder(name))
    truth = {clip.clip_id: trained_on(clip, exposure) for clip in clips}
    plan = request.plan
    if target.access == "labels" and not any(clip.text for clip in clips):
        raise InputError(f"{target.id}: it gives its text and no probability, and no clip has a text to judge it by")
    if target.access != "weights" and plan.protocol != "single-pass":
        raise InputError(f"{target.id}: there is no second pass for it; leave `--protocol {plan.protocol}` out")
    cells = sum(plan.texts_per_clip() if clip.text else 2 * len(plan.inputs()) - 1 for clip in clips)
    if target.access != "weights":
        cells = len(plan.inputs()) * len(clips)
    if request.engine == "ray":
        fill(name, target, clips, request, store, studio)
    with tqdm(total=cells, desc=target.id, unit="text", smoothing=0.05, disable=None) as bar:

        def rows() -> Iterator[dict[str, Any]]:
            for row, stats in score_clips(target, clips, plan, store, bar.update, studio):
                tokens.add({**{key: row[key] for key in TOKEN_KEYS}, **token_columns(stats)})
                yield {**row, "trained": truth[row["clip_id"]]}

        scores.write(target.id, rows())
    return {
        "id": target.id,
        "revision": target.revision,
        "dtype": target.dtype,
        "family": target.family,
        "prompt": plan.prompt_for(target, clips[0].task),
        "prompts": {task: plan.prompt_for(target, task) for task in dict.fromkeys(clip.task for clip in clips)},
        "max_new_tokens": plan.max_new_tokens,
        "decoding": target.decoding,
        "access": target.access,
        "limits": target.limits,
        "trained_on": None if exposure is None else str(exposure),
        "half": None if exposure is None else exposure.half,
    }


def fill(name: str, target: Target, clips: Sequence[Clip], request: Request, store: Store, studio: Studio) -> None:
    """Put what the store lacks of one target into it, by workers of a Ray cluster.

    Nobody else writes to the store: workers send back token statistics and nothing more.
    """
    from precompute.engine.ray_engine import RayEngine
    from precompute.engine.worker import WorkerTarget

    if target.access != "weights":
        raise InputError(f"{target.id}: --engine ray spreads models, and this one is behind an endpoint")
    plan = request.plan
    how = (request.device, request.attention, request.device_map, plan.protocol, plan.batch_size)
    load = WorkerTarget(name, target.revision, target.dtype, *how)
    with RayEngine(load, request.workers, address=request.ray_address) as engine:
        for stage, what in ((1, "original audio"), (2, "other audio")):
            with tqdm(total=len(clips), desc=f"{target.id}, {what}", unit="clip", disable=None) as bar:
                for done in engine.run(missing_works(stage, target, clips, plan, store, bar.update, studio)):
                    store.put_many({key: stats_to_arrays(stats) for key, stats in done.items()})


def token_columns(stats: TokenStats) -> dict[str, list[Any]]:
    """Give the lists of ``tokens.parquet``: token text, nll and entropy in nats, gap of the two best probabilities."""
    return {
        "token": list(stats.tokens),
        "nll": (-stats.logprob).round(4).tolist(),
        "entropy": stats.entropy.round(4).tolist(),
        "gap": stats.gap.round(4).tolist(),
    }


def blind_baselines(
    clips: pd.DataFrame, features: pd.DataFrame, fold_of: attack.Folds
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Out-of-fold blind scores per dataset of a table of clips, on the folds the attack uses, and the fitted models."""
    tables, models = [], {}
    for name in tqdm(clips["dataset"].unique().tolist(), desc="blind baselines", unit="dataset", disable=None):
        part = clips[clips["dataset"] == name]
        ids, labels = part["clip_id"].tolist(), part["label"].to_numpy()
        folds = fold_of[name].loc[ids].to_numpy()
        table = features.reindex(ids).reset_index(drop=True)  # no copy where it is all of them
        fitted = blind.blind_scores(table, part["text"].fillna("").tolist(), labels, folds)
        keys = pd.DataFrame({"clip_id": ids, "dataset": name, "label": labels, "fold": folds})
        tables.append(pd.concat([keys, fitted.scores, table], axis=1))
        models[name] = fitted
    return pd.concat(tables, ignore_index=True), models


def clips_table(cohorts: Sequence[Cohort], features: pd.DataFrame, hashes: pd.Series) -> pd.DataFrame:
    """Rows of ``clips.parquet``: one per cohort and clip."""
    seconds, hash_of = features["metadata.duration_s"].astype(float).to_dict(), hashes.to_dict()
    rows = [
        {
            "clip_id": clip.clip_id,
            "dataset": cohort.name,
            "label": label,
            "trained": half_of(clip) == "A" if is_embedded(clip) else None,
            "half": half_of(clip),
            "text": clip.text,
            "duration_s": seconds[clip.clip_id],
            "group": clip.group,
            "language": clip.language,
            "task": clip.task,
            "audio_hash": hash_of[clip.clip_id],
        }
        for cohort in cohorts
        for clip, label in zip(cohort.clips, cohort.labels, strict=True)
    ]
    return pd.DataFrame(rows).astype({"trained": "boolean"})


def written_texts(clips: Sequence[Clip], scores: Scored, targets: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Give what resynthesis speaks for clips without a text of their own: what the first target wrote, by clip_id."""
    silent = [clip.clip_id for clip in clips if not clip.text]
    if not targets or not silent:
        return {}
    return scores.column(targets[0]["id"], ORIGINAL, "generated_text").loc[silent].to_dict()


def write_listening_audio(
    request: Request, clips: Sequence[Clip], store: Store, studio: Studio, written: Mapping[str, str]
) -> None:
    """Put the originals and the resyntheses into the bundle; the rest is made while listening."""
    plan = request.plan
    voices = CONDITIONS["resynthesis"].realizations if "resynthesis" in plan.conditions else 0
    if not request.names:  # scores made elsewhere: there is no target that heard another voice
        voices = 0
    silent = np.zeros(0, dtype=np.float32)
    for clip in tqdm(clips, desc="audio", unit="clip", disable=None):
        write_original(request.out, clip)
        text = clip.text or written.get(clip.clip_id)
        jobs = [
            Rendering("resynthesis", clip, silent, voice, plan.seed, text, casting=plan.casting)
            for voice in range(voices)
        ]
        for voice, samples in enumerate(rendered(jobs, store, studio)):
            if samples is not None:
                write_audio(request.out, clip.clip_id, "resynthesis", voice, samples, SAMPLE_RATE)


def resynthesis_fidelity(
    request: Request,
    cohorts: Sequence[Cohort],
    store: Store,
    studio: Studio,
    written: Mapping[str, str],
    scores: Scored,
) -> list[dict[str, Any]]:
    """Measure how faithful the resyntheses are; nothing where there are none."""
    if not request.names or "resynthesis" not in request.plan.conditions:
        return []
    listener = None if request.asr_target is None else asr_listener(request)
    plan = request.plan
    rows: list[dict[str, Any]] = []
    for cohort in cohorts:
        errors = scores.word_errors(cohort.name)
        rows += fidelity([cohort], store, studio, plan.casting, plan.seed, written, listener, errors)
    return rows


def asr_listener(request: Request) -> Listener:
    """Load the target that reads resyntheses."""
    target = request.load(str(request.asr_target))
    prompt, most = target.prompts["speech"], request.plan.max_new_tokens

    def transcribe(samples: np.ndarray) -> str:
        return target.generate([samples], prompt, most)[0].text

    return Listener(f"{target.id}@{target.revision}", transcribe)


def reference_id(request: Request, targets: Sequence[Mapping[str, Any]]) -> str | None:
    """Id of the unexposed target, which stands last where it was not named as a target itself."""
    if request.reference is None:
        return None
    return str(targets[request.names.index(request.reference)]["id"])


def described(cohort: Cohort) -> dict[str, Any]:
    """Say of a dataset what stands in ``audit.json``."""
    known = ("name", "title", "description", "licence", "attribution", "truth", "task")
    counts = {"n_member": int(cohort.label_array.sum()), "n_non_member": int((1 - cohort.label_array).sum())}
    return {**{key: getattr(cohort, key) for key in known}, **counts}


def describe(
    request: Request, datasets: list[dict[str, Any]], targets: list[dict[str, Any]], fingerprint: str, seconds: float
) -> dict[str, Any]:
    """Contents of ``audit.json``: what was audited, how, and with which versions."""
    packages = ("torch", "transformers", "librosa", "scikit-learn", "numpy", "pandas")
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "fingerprint": fingerprint,
        "part": "all" if request.limit is None else f"{request.limit} clips per class of each dataset, seeded",
        "seed": request.seed,
        "protocol": request.plan.protocol,
        "voices": request.plan.casting.describe(),
        "reference_target": reference_id(request, targets),
        "targets": targets,
        "datasets": datasets,
        "conditions": [
            {
                "name": name,
                "realizations": CONDITIONS[name].realizations,
                "description": CONDITIONS[name].description,
                "fixed_seconds": request.plan.fixed_seconds if name.endswith("_fixed") else None,
            }
            for name in dict.fromkeys(name for name, _ in request.plan.inputs())
        ],
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "wall_seconds": round(seconds, 1),
    }
