"""Every table and verdict of a bundle, from its scores: ``results.json`` and ``models.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from precompute import attack, evidence
from precompute.blind import DENSE, FAMILIES, BlindFit
from precompute.blind.properties import separating_properties
from precompute.bundle import plain
from precompute.claims import CAPTIONS, TRANSCRIPTS, Cell, Claim, claims
from precompute.evidence import Dataset, Findings, features_of
from precompute.given import GIVEN
from precompute.headline import Headline, Overlap
from precompute.hearing import CHANCE, Hearing, hearing, is_captioned, own_caption_shares
from precompute.indicators import ORIENTATION
from precompute.scoring import normalise
from precompute.statistics.contrasts import Interaction, condition_contrast, interaction
from precompute.statistics.correlation import correlation, within_class
from precompute.statistics.intervals import Estimate, mean_estimate, percentiles
from precompute.statistics.intervals import resampled_aucs as resampled
from precompute.statistics.multiplicity import benjamini_hochberg
from precompute.statistics.roc import auc
from precompute.tables import KNOWN, ORIGINAL, Columns, Key, Scores, chosen, part_of, scores_of
from precompute.verdicts import SHIFTED, blind_verdict

READABLE_WER = 0.8
"""Above this word error of non-members' transcripts a target cannot read the audio, and its own text says nothing
about memory. Captions have their own check, in `precompute.hearing`."""

NOT_SCORED = "given text not scored"
"""Claim about a target that cannot score a text it is given."""

SPEECHLESS = ("silence", "silence_fixed", "noise", "noise_fixed")
"""Conditions in which there is nothing to read; whether the target can read is judged on the original there."""

VERSION = 8
"""Raised when the same scores would give other tables."""

TABLES = (
    *("blind", "properties", "adjustment", "pairs", "mia", "indicators", "correlation", "heatmap", "conditions"),
    *("claims", "controls", "grouping", "reference", "verdicts"),
)
"""Keys of ``results.json``."""

FITS = {"refit": "mia_score", "transfer": "mia_score_transfer"}

TRAINED = (
    "out-of-fold logistic regression, equal class weights, centred per fold; 95% interval: DeLong's standard error, "
    "widened for training by its ratio to the deviation under permuted labels"
)
SWAPPED = "; conditions: bootstrap of clips (1,000 resamples), widened likewise"
METHODS = {
    "refit": f"30 indicators, fitted inside this condition, {TRAINED}{SWAPPED}",
    "transfer": f"30 indicators, fitted on the original audio of the training clips, {TRAINED}{SWAPPED}",
    "trees": "gradient-boosted trees, out of fold; 95% interval: DeLong's, widened as the linear families' is",
    "linear": TRAINED,
    "t": "paired t-test over the folds' AUCs, as the paper reports one; folds share training clips, so p is too small",
}


def build_results(
    clips: pd.DataFrame,
    scores: pd.DataFrame | Scores,
    blind: pd.DataFrame | Columns,
    audit: Mapping[str, Any],
    models: Mapping[str, Any] | None = None,
    findings: Findings | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Make every table and verdict of an audit.

    Parameters
    ----------
    clips : pd.DataFrame
        ``clips.parquet``: `clip_id, dataset, label`, and `text, group, audio_hash` where they are there.
    scores : pd.DataFrame
        ``scores.parquet``, membership scores included.
    blind : pd.DataFrame
        ``blind.parquet``: `clip_id, dataset`, a ``*_score`` column per family, and the features.
    audit : mapping
        ``audit.json``: `seed`, `reference_target`, per target `family` and per dataset `truth` are read.
    models : mapping or None
        ``models.json``, for the largest weights of the blind families; without it they are left empty.
    findings : Findings or None
        From `precompute.evidence.find`; None finds them here.

    Returns
    -------
    dict of str to list of dict
        Contents of ``results.json``: the keys of `TABLES`; plain numbers, None where a value does not exist.
    """
    seed = int(audit.get("seed") or 0)
    given = [row["id"] for row in audit.get("targets", []) if row.get("family") == GIVEN]
    limits = {row["id"]: str(row["limits"]) for row in audit.get("targets", []) if row.get("limits")}
    reference = audit.get("reference_target")
    truths = {row["name"]: row.get("truth") for row in audit.get("datasets", [])}
    findings = findings or evidence.find(clips, scores, blind, seed, given)
    tables: dict[str, list[dict[str, Any]]] = {key: [] for key in TABLES}
    columns: dict[str, dict[str, np.ndarray]] = {}
    estimates: dict[str, dict[str, Estimate]] = {}
    for name, data in tqdm(findings.datasets.items(), desc="statistics", unit="dataset", disable=None):
        scored = features_of(data, blind, [f"{family}_score" for family in FAMILIES])
        columns[name] = {family: scored[f"{family}_score"].to_numpy(dtype=float) for family in FAMILIES}
        estimates[name] = {f: data.estimate(v, findings.factors[name][f]) for f, v in columns[name].items()}
        top = (models or {}).get(name, {}).get("blind", {})
        _add(tables, _dataset_tables(data, blind, findings.overlaps[name], estimates[name], top))
        by_target = {
            t: scores_of(scores).cells(dataset, t) for dataset, t in scores_of(scores).pairs() if dataset == name
        }
        for target, cells in by_target.items():
            headline = findings.headlines[name, target]
            _add(tables, _target_tables(data, target, cells, headline, columns[name]))
            if target not in given:
                _add(tables, _attack_tables(data, target, cells, headline, estimates[name], limits.get(target), seed))
            if target not in given and reference in by_target and reference != target:
                known, other = (one[ORIGINAL] for one in (cells, by_target[reference]))
                tables["reference"] += evidence.reference_rows(
                    data, target, known, reference, other, findings.overlaps[name], seed
                )
        data.let_go()
    tables["verdicts"] = evidence.verdict_rows(findings, scores, columns, estimates, truths, given, limits)
    units = {name: pd.Series(data.units, index=data.clips["clip_id"]) for name, data in findings.datasets.items()}
    tables["heatmap"] = attack.heatmap(scores, seed, units=units, given=given)
    return plain(tables)


def _add(tables: dict[str, list[dict[str, Any]]], more: Mapping[str, list[dict[str, Any]]]) -> None:
    """Put further rows below those of the tables of the same names."""
    for key, rows in more.items():
        tables[key] += rows


def _dataset_tables(
    data: Dataset,
    blind: pd.DataFrame | Columns,
    overlap: Overlap,
    found: Mapping[str, Estimate],
    top: Mapping[str, Mapping[str, Any]],
) -> dict[str, list[dict[str, Any]]]:
    """Rows about one dataset's clips, without any target."""
    dense = [name for names in DENSE.values() for name in names]
    return {
        "blind": [_blind_row(data.name, f, found[f], top.get(f, {}).get("top", [])) for f in FAMILIES],
        "properties": _property_rows(data, blind),
        "adjustment": [evidence.overlap_row(data, overlap)],
        "pairs": evidence.pair_rows(data, overlap),
        "grouping": evidence.grouping_rows(
            data, "blind features", lambda: features_of(data, blind, dense).to_numpy(dtype=float)
        ),
    }


def _target_tables(
    data: Dataset,
    target: str,
    cells: Mapping[Key, pd.DataFrame],
    headline: Headline,
    families: Mapping[str, np.ndarray],
) -> dict[str, list[dict[str, Any]]]:
    """Rows about one target's scores, wherever they were made."""
    factor = headline.raw_null.factor
    return {
        "correlation": _correlation_rows(data, target, cells, families),
        "mia": [_mia_row(data, target, key, cell, fit, factor) for key, cell in cells.items() for fit in FITS],
    }


def _attack_tables(
    data: Dataset,
    target: str,
    cells: Mapping[Key, pd.DataFrame],
    headline: Headline,
    blind: Mapping[str, Estimate],
    limits: str | None,
    seed: int,
) -> dict[str, list[dict[str, Any]]]:
    """Rows about an attack that was made here."""
    grid = condition_rows(data, target, cells, headline.raw_null.factor)
    claimed = claim_rows(data, target, cells, grid, blind, limits)
    data.let_go()
    origin = cells[ORIGINAL]
    used = attack.columns_of(origin)
    return {
        "conditions": grid,
        "claims": claimed,
        "indicators": _indicator_rows(data, target, cells),
        "grouping": evidence.grouping_rows(data, f"attack on {target}", lambda: data.matrix(origin, used)),
        "controls": evidence.control_rows(data, target, origin, headline, seed),
    }


def build_models(
    scores: pd.DataFrame | Scores, blind: Mapping[str, BlindFit], folds: attack.Folds, given: Sequence[str] = ()
) -> dict[str, Any]:
    """Make ``models.json``: what scoring a new clip needs, as plain numbers.

    Parameters
    ----------
    scores : pd.DataFrame
        ``scores.parquet``.
    blind : mapping of str to BlindFit
        Blind baselines per dataset.
    folds : mapping of str to pd.Series
        As given to `precompute.attack.membership_scores`.
    given : sequence of str
        Targets whose scores were made elsewhere.

    Returns
    -------
    dict
        ``{dataset: {target: {"indicators", "folds"}, "blind": {family: {"features", "top", "folds"}},
        "typicality": {"features", "folds"}}}``.
    """
    models = attack.fold_models(scores, folds, given)
    return {
        name: {
            **targets,
            **({"blind": blind[name].models, "typicality": blind[name].typicality} if name in blind else {}),
        }
        for name, targets in models.items()
    }


def _fields(found: Estimate, prefix: str = "auc") -> dict[str, float]:
    """Name an estimate's numbers as the columns `auc, auc_low, auc_high` under a prefix."""
    return {prefix: found.auc, f"{prefix}_low": found.low, f"{prefix}_high": found.high}


def _sizes(found: Estimate) -> dict[str, int]:
    """Class sizes as columns."""
    return {"n_member": found.n_member, "n_non_member": found.n_non_member}


def _blind_row(dataset: str, family: str, found: Estimate, top: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One blind family of one dataset."""
    return {
        "dataset": dataset,
        "family": family,
        **_fields(found),
        "auc_low_90": found.low_90,
        "auc_high_90": found.high_90,
        **_sizes(found),
        "method": METHODS["trees" if family in ("boosted", "fingerprint") else "linear"],
        "top": list(top),
        "reason": "no clip of this dataset has a text" if not found.n_member and family == "text" else None,
    }


def _property_rows(data: Dataset, blind: pd.DataFrame | Columns) -> list[dict[str, Any]]:
    """Which property of the clips separates the classes, each on its own."""
    columns = [name for name in blind if str(name).startswith(("metadata.", "acoustic.", "fingerprint."))]
    table = features_of(data, blind, columns)
    return [{"dataset": data.name, **row} for row in separating_properties(table, data.labels, columns)]


def _mia_row(data: Dataset, target: str, key: Key, cell: pd.DataFrame, fit: str, factor: float) -> dict[str, Any]:
    """Attack on one condition, realization and scored text."""
    condition, realization, text = key
    found = data.estimate(data.column(cell, FITS[fit]), factor)
    nll = data.estimate(-data.column(cell, "nll"))
    tokens = data.column(cell, "n_tokens")
    left_out = ~np.isfinite(data.column(cell, FITS[fit])) & np.isfinite(data.column(cell, "label"))
    written = np.isfinite(tokens)
    return {
        "dataset": data.name,
        "target": target,
        "condition": condition,
        "realization": realization,
        "scored_text": text,
        "fit": fit,
        **_fields(found),
        "se": found.se,
        **_sizes(found),
        "excluded_member": int((left_out & (data.labels == 1)).sum()),
        "excluded_non_member": int((left_out & (data.labels == 0)).sum()),
        **_fields(nll, "nll_auc"),
        "tokens_auc": auc(data.labels[written], tokens[written]),
        **_word_errors(data, [cell]),
        "method": method_of(fit, cell),
    }


def method_of(fit: str, cell: pd.DataFrame) -> str:
    """Say how the attack on a cell is fitted, with the number of indicators its target has."""
    return METHODS[fit].replace("30 indicators", f"{len(attack.columns_of(cell))} indicators")


def _word_errors(data: Dataset, cells: Sequence[pd.DataFrame]) -> dict[str, float]:
    """Mean word error of the generated text by class; NaN where no reference is known."""
    if not all("wer" in cell for cell in cells):
        return {"wer_member": float("nan"), "wer_non_member": float("nan")}
    values = np.vstack([data.column(cell, "wer") for cell in cells])
    means = {}
    for name, label in (("wer_member", 1), ("wer_non_member", 0)):
        known = values[:, data.labels == label]
        known = known[np.isfinite(known)]
        means[name] = float(known.mean()) if len(known) else float("nan")
    return means


def condition_rows(
    data: Dataset, target: str, cells: Mapping[Key, pd.DataFrame], factor: float
) -> list[dict[str, Any]]:
    """Make the disentanglement grid: scored text x condition, averaged over realizations, beside the original."""
    groups = dict.fromkeys((condition, text) for condition, _, text in cells)
    heard = {condition: _heard(data, cells, condition) for condition, _ in groups}
    taken_in = {condition: _taken_in(data, heard[condition]) for condition, _ in groups}
    rows = []
    for condition, text in groups:
        whole = cells[next(key for key in cells if (key[0], key[2]) == (condition, text))]
        methods = {fit: method_of(fit, whole) for fit in FITS}
        del whole
        found = chosen(cells, condition, text, FITS.values())
        key = ("original", 0, "generated" if text == "carried" else text)
        origin = part_of(cells, key, FITS.values()) if key in cells else None
        for fit, column in FITS.items():
            values = [data.column(cell, column) for cell in found]
            narrow, single, drawn = mean_estimate(data.labels, values, data.weights)
            mean = data.estimate(values[0], factor) if len(values) == 1 else widened(narrow, factor)
            base = None if origin is None or condition == "original" else data.column(origin, column)
            rows.append(
                {
                    "dataset": data.name,
                    "target": target,
                    "condition": condition,
                    "scored_text": text,
                    "fit": fit,
                    **_fields(mean),
                    "sd": float(np.std(single, ddof=1)) if len(single) > 1 else None,
                    "realizations": single,
                    **_sizes(mean),
                    **heard[condition],
                    "readable": _readable(taken_in, condition),
                    **_against_original(data, values, drawn, base),
                    "method": methods[fit],
                    "t_method": METHODS["t"],
                }
            )
    return rows


def widened(found: Estimate, factor: float) -> Estimate:
    """Move the limits of an interval away from the AUC by what training adds.

    Parameters
    ----------
    found : Estimate
    factor : float
        At least 1; see `precompute.nulls`.

    Returns
    -------
    Estimate
        Limits within [0, 1].
    """

    def away(limit: float) -> float:
        return float(np.clip(found.auc + factor * (limit - found.auc), 0.0, 1.0))

    return replace(
        found,
        low=away(found.low),
        high=away(found.high),
        low_90=away(found.low_90),
        high_90=away(found.high_90),
        se=factor * found.se,
    )


def _heard(data: Dataset, cells: Mapping[Key, pd.DataFrame], condition: str) -> dict[str, float | None]:
    """Measure how near what the target wrote under a condition is to the known texts, over all realizations.

    Returns
    -------
    dict
        ``wer_member``, ``wer_non_member``, and ``own_caption, own_caption_low, own_caption_high``: how often what was
        written for a non-member is nearer to its own caption than to another's; None for transcripts.
    """
    written = chosen(cells, condition, "generated", ("wer", "generated_text"))
    errors = _word_errors(data, written) if written else {"wer_member": float("nan"), "wer_non_member": float("nan")}
    names = ("own_caption", "own_caption_low", "own_caption_high")
    if not is_captioned(data.clips):
        return {**errors, **dict.fromkeys(names)}
    found = _captioning(data, written)
    return {**errors, **dict(zip(names, (found.share, found.low, found.high), strict=True))}


def _captioning(data: Dataset, written: Sequence[pd.DataFrame]) -> Hearing:
    """Whether what the target wrote for non-members, in each realization, tells their own captions from others'."""
    captions = data.clips["text"].fillna("").astype(str)
    rows = np.flatnonzero((data.labels == 0) & captions.map(normalise).ne("").to_numpy())
    known = captions.iloc[rows].tolist()
    shares = []
    for cell in written:
        texts = cell.set_index("clip_id")["generated_text"].reindex(data.clips["clip_id"].iloc[rows])
        shares.append(np.where(texts.notna(), own_caption_shares(known, texts.fillna("").tolist()), np.nan))
    every = np.mean(shares, axis=0) if shares else np.full(len(rows), np.nan)
    return hearing(every, data.units[rows])


def _taken_in(data: Dataset, heard: Mapping[str, float | None]) -> bool | None:
    """Whether what was written for non-members shows that the target takes this audio in; None if it is not known."""
    if is_captioned(data.clips):
        low = heard["own_caption_low"]
        return None if low is None or not np.isfinite(low) else bool(low > CHANCE)
    error = heard["wer_non_member"]
    return None if error is None or not np.isfinite(error) else bool(error <= READABLE_WER)


def _readable(taken_in: Mapping[str, bool | None], condition: str) -> bool | None:
    """Whether the target takes in this audio and the original; where there is nothing to hear, the original alone."""
    judged = ["original"] if condition in SPEECHLESS else ["original", condition]
    known = [taken_in[name] for name in judged if taken_in.get(name) is not None]
    return all(known) if known else None


def _against_original(
    data: Dataset, values: Sequence[np.ndarray], drawn: np.ndarray, base: np.ndarray | None
) -> dict[str, float | None]:
    """Drop from the original: paired bootstrap difference, and the paper's paired t-test over folds."""
    from scipy import stats

    names = ("difference", "difference_low", "difference_high", "t", "t_p")
    if base is None:
        return dict.fromkeys(names)
    both = np.isfinite(base) & np.all(np.isfinite(np.vstack(values)), axis=0)
    whole = all(np.array_equal(np.isfinite(column), both) for column in (base, *values))
    common = [np.where(both, column, np.nan) for column in (base, *values)]
    swapped = drawn if whole else np.mean([resampled(data.labels, c, data.weights) for c in common[1:]], axis=0)
    gap = swapped - resampled(data.labels, common[0], data.weights)
    difference = float(
        np.mean([auc(data.labels[both], c[both]) for c in common[1:]]) - auc(data.labels[both], common[0][both])
    )
    low, _, _, high = percentiles(gap)
    by_fold = [list(attack.fold_aucs(data.labels, column, data.sample.folds)) for column in common]
    pairs = np.array([by_fold[0], np.mean(by_fold[1:], axis=0)])
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    if pairs.shape[1] < 2 or np.ptp(pairs[1] - pairs[0]) == 0:
        return dict(zip(names, (difference, low, high, None, None), strict=True))
    test = stats.ttest_rel(pairs[0], pairs[1])
    return dict(zip(names, (difference, low, high, float(test.statistic), float(test.pvalue)), strict=True))


def claim_rows(
    data: Dataset,
    target: str,
    cells: Mapping[Key, pd.DataFrame],
    grid: Sequence[Mapping[str, Any]],
    blind: Mapping[str, Estimate],
    limits: str | None = None,
) -> list[dict[str, Any]]:
    """Say what phase 3 supports, in the order of its strength; `limits`: what is not known of the target."""
    found = {}
    for row in grid:
        if row["fit"] == "refit":
            value = Estimate(row["auc"], row["auc_low"], row["auc_high"], *(float("nan"),) * 3, 0, 0)
            drop = (row["difference"], row["difference_high"], row["difference_low"])
            known = row["difference"] is not None
            found[row["scored_text"], row["condition"]] = Cell(value, (-drop[0], -drop[1], -drop[2]) if known else None)
    readable = {row["condition"]: row["readable"] for row in grid}
    bar = max((value.high for value in blind.values() if np.isfinite(value.auc)), default=0.5)
    known_blind = [(family, value) for family, value in blind.items() if np.isfinite(value.auc)]
    shifted = blind_verdict(known_blind)[0] == SHIFTED
    mirrored = KNOWN in cells and data.estimate(-_known_nll(data, cells)).high < 0.5
    words = CAPTIONS if is_captioned(data.clips) else TRANSCRIPTS
    rows = claims(found, bar, readable, _moved(data, cells), _length_gap(data, cells), shifted, mirrored, words)
    if limits and KNOWN not in cells:
        rows.append(
            Claim(
                NOT_SCORED,
                f"carried and known texts were not scored ({limits}): whether it knows a {words.text} without the "
                f"{words.source}, or is bound to the {words.source}, cannot be told.",
            )
        )
    return [
        {"dataset": data.name, "target": target, "claim": claim.claim, "sentence": claim.sentence} for claim in rows
    ]


def _moved(data: Dataset, cells: Mapping[Key, pd.DataFrame]) -> Interaction | None:
    """Loss of certainty in the known text from the original to its resynthesis, members less non-members."""
    spoken = chosen(cells, "resynthesis", "reference", ["nll"])
    if KNOWN not in cells or not spoken:
        return None
    swapped = np.mean([data.column(cell, "nll") for cell in spoken], axis=0)
    return interaction(data.labels, _known_nll(data, cells), swapped, data.units)


def _known_nll(data: Dataset, cells: Mapping[Key, pd.DataFrame]) -> np.ndarray:
    """Mean NLL of the known text under the original audio, in the order of the clips."""
    return data.column(part_of(cells, KNOWN, ["nll"]), "nll")


def _length_gap(data: Dataset, cells: Mapping[Key, pd.DataFrame]) -> tuple[float, float, float] | None:
    """AUC under silence of each clip's length less that under silence of one length, generated text."""
    pair: list[Key] = [(name, 0, "generated") for name in ("silence_fixed", "silence")]
    if not all(key in cells for key in pair):
        return None
    fixed, own = (data.column(part_of(cells, key, ["mia_score"]), "mia_score") for key in pair)
    gap = condition_contrast(data.labels, fixed, own, data.weights)
    return gap.difference, gap.low, gap.high


def _indicator_rows(data: Dataset, target: str, cells: Mapping[Key, pd.DataFrame]) -> list[dict[str, Any]]:
    """Each indicator alone, with its fixed orientation, on the original audio; q by Benjamini and Hochberg."""
    from scipy.special import ndtr

    rows = []
    for text in dict.fromkeys(text for condition, _, text in cells if condition == "original"):
        cell = cells["original", 0, text]
        for name in attack.columns_of(cell):
            found = data.estimate(ORIENTATION[name] * data.column(cell, name))
            # Two-sided normal p of an AUC of one half, at DeLong's error: nothing is trained here.
            p = float(2 * ndtr(-abs(found.auc - 0.5) / found.se)) if found.se else 1.0
            rows.append(
                {
                    "dataset": data.name,
                    "target": target,
                    "scored_text": text,
                    "indicator": name,
                    **_fields(found),
                    "p": p,
                }
            )
    for row, q in zip(rows, benjamini_hochberg(np.array([row["p"] for row in rows])), strict=True):
        row["q"] = float(q)
    return rows


def _correlation_rows(
    data: Dataset, target: str, cells: Mapping[Key, pd.DataFrame], families: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    """Blind against membership score, over all clips (the paper's) and within class."""
    if ORIGINAL not in cells:
        return []
    score = data.column(part_of(cells, ORIGINAL, ["mia_score"]), "mia_score")
    rows = []
    for family, values in families.items():
        pooled, inside = correlation(values, score, data.units), within_class(data.labels, values, score, data.units)
        rows.append(
            {
                "dataset": data.name,
                "target": target,
                "family": family,
                "pearson": pooled.pearson,
                "pearson_low": pooled.low,
                "pearson_high": pooled.high,
                "pearson_p": pooled.p,
                "spearman": pooled.spearman,
                "n": pooled.n,
                "within": inside.pearson,
                "within_low": inside.low,
                "within_high": inside.high,
            }
        )
    return rows
