"""What verdicts rest on: overlap per dataset, headline, controls and added value per target, and the verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from precompute import attack
from precompute.adjustment import Covariates, covariates, matched_pairs
from precompute.blind import DENSE, FAMILIES
from precompute.headline import Headline, Overlap, Sample, find_headline, find_overlap, given_headline
from precompute.nulls import permutation_null
from precompute.statistics.incremental import auc_gain, likelihood_ratio, stack_scores
from precompute.statistics.intervals import Estimate, cluster_bootstrap_weights
from precompute.statistics.logistic import out_of_fold_draws
from precompute.statistics.low_fpr import tpr_at_fpr
from precompute.statistics.missing import missingness
from precompute.statistics.multiplicity import holm
from precompute.statistics.trained import trained_estimate
from precompute.tables import KNOWN, ORIGINAL, Columns, Scores, part_of, scores_of
from precompute.units import table_design
from precompute.verdicts import Evidence, decide

FACTOR_DRAWS = 100
"""Free permutations behind the interval of a blind baseline."""

LOW_FPRS = (0.01, 0.001)
HEADLINE_METHOD = (
    "{columns} indicators, original audio, generated text; logistic regression out of fold, fitted under overlap "
    "weights (propensity cross-fitted on length, sound and wording); p: label draws from the propensity, attack and "
    "weights refitted, sequential (Besag and Clifford 1991), Holm over all verdicts; interval: weighted DeLong, "
    "widened by the deviation under those draws"
)
WEAKER = "Weaker than an audit with the model's weights"
"""What a sentence says of a target behind an endpoint."""

GIVEN_METHOD = (
    "scores made elsewhere, taken as they are; overlap weights (propensity cross-fitted on length, sound and wording); "
    "p: label draws from the propensity, weights refitted; Holm over all verdicts; interval: weighted DeLong, widened "
    "by the deviation under those draws"
)


@dataclass(frozen=True)
class Dataset:
    """The clips of one dataset in a fixed order, with what every statistic of them shares.

    Parameters
    ----------
    name : str
    clips : pd.DataFrame
        Rows of ``clips.parquet``, ordered by clip_id so that no number depends on the order of the rows.
    sample : Sample
    seed : int
        Of the resamples.
    """

    name: str
    clips: pd.DataFrame
    sample: Sample
    seed: int

    @cached_property
    def weights(self) -> np.ndarray:
        """One set of resamples for all scores, shape (n, draws): drawn when first needed, for it is large."""
        return cluster_bootstrap_weights(self.labels, self.units, seed=self.seed)

    def let_go(self) -> None:
        """Free the resamples; the same are drawn when they are needed again."""
        vars(self).pop("weights", None)

    @property
    def labels(self) -> np.ndarray:
        """1 member, 0 non-member, shape (n,)."""
        return self.sample.labels

    @property
    def units(self) -> np.ndarray:
        """Which clips are dependent, shape (n,)."""
        return self.sample.design.units

    def column(self, table: pd.DataFrame, name: str) -> np.ndarray:
        """Take a column of `table` (one row per clip) in the order of the clips, NaN where a clip has no row."""
        return self.matrix(table, [name])[:, 0]

    def matrix(self, table: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
        """Take columns of `table` as `column` does, shape (n, len(names))."""
        places = pd.Index(table["clip_id"]).get_indexer(self.clips["clip_id"])
        values = np.full((len(places), len(names)), np.nan)
        for j, name in enumerate(names):  # one by one: a table of every feature of many clips is large
            column = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
            values[places >= 0, j] = column[places[places >= 0]]
        return values

    def estimate(self, values: np.ndarray, factor: float = 1.0, weights: np.ndarray | None = None) -> Estimate:
        """AUC of a column with its interval, widened for training by `factor`."""
        return trained_estimate(self.labels, values, self.units, factor, weights)


@dataclass(frozen=True)
class Findings:
    """Everything that is fitted to labels more than once.

    Parameters
    ----------
    datasets : dict of str to Dataset
    overlaps : dict of str to Overlap
    factors : dict of str to dict of str to float
        By dataset and blind family: what training adds to the standard error.
    headlines : dict of (str, str) to Headline
        By dataset and target.
    """

    datasets: dict[str, Dataset]
    overlaps: dict[str, Overlap]
    factors: dict[str, dict[str, float]]
    headlines: dict[tuple[str, str], Headline]


def find(
    clips: pd.DataFrame,
    scores: pd.DataFrame | Scores,
    blind: pd.DataFrame | Columns,
    seed: int = 0,
    given: Sequence[str] = (),
) -> Findings:
    """Fit propensities, headline attacks and their nulls.

    Parameters
    ----------
    clips, scores, blind : pd.DataFrame
        Tables of the bundle.
    seed : int
    given : sequence of str
        Targets whose `mia_score` was made elsewhere.

    Returns
    -------
    Findings
    """
    from threadpoolctl import threadpool_limits

    found = Findings({}, {}, {}, {})
    scores = scores_of(scores)
    jobs = pd.DataFrame(scores.pairs(), columns=["dataset", "target"])
    # Matrices are small: a second thread gains little, and costs much where the cores are busy.
    with threadpool_limits(1), tqdm(total=len(jobs), desc="verdicts", unit="verdict", disable=None) as bar:
        for name, part in jobs.groupby("dataset", sort=False):
            data = dataset_of(str(name), clips, seed)
            found.datasets[data.name] = data
            found.overlaps[data.name] = find_overlap(data.sample, reaching(data, blind), seed=seed)
            found.factors[data.name] = blind_factors(data, blind, seed)
            for target in part["target"]:
                cell = scores.cells(str(name), target)[ORIGINAL]
                overlap = found.overlaps[data.name]
                if target in given:
                    headline = given_headline(data.sample, data.column(cell, "mia_score"), overlap, seed)
                else:
                    features = data.matrix(cell, attack.columns_of(cell))
                    del cell
                    headline = find_headline(data.sample, features, overlap, seed)
                found.headlines[data.name, str(target)] = headline
                bar.update()
    return found


def dataset_of(name: str, clips: pd.DataFrame, seed: int) -> Dataset:
    """Order a dataset's clips, find its units and folds."""
    part = clips[clips["dataset"] == name].drop_duplicates("clip_id").sort_values("clip_id").reset_index(drop=True)
    labels, design = part["label"].to_numpy(dtype=int), table_design(part)
    folds = attack.dataset_folds(part, seed).to_numpy()
    strata = np.zeros(len(part), dtype=int)
    if design.n_groups and not design.nested:
        both = part.groupby("group")["label"].transform("nunique") == 2  # a group of one class permutes with the rest
        strata = np.where(both, np.unique(part["group"].astype(str), return_inverse=True)[1] + 1, 0)
    return Dataset(name, part, Sample(labels, folds, design, strata), seed)


def features_of(data: Dataset, blind: pd.DataFrame | Columns, columns: Sequence[str]) -> pd.DataFrame:
    """Take columns of ``blind.parquet``, those that are there, in the order of the clips."""
    rows = np.flatnonzero(blind["dataset"] == data.name)
    places = pd.Index(blind["clip_id"].iloc[rows]).get_indexer(data.clips["clip_id"])
    # Column by column, for pandas copies a large table at each step.
    taken = {name: blind[name].to_numpy()[rows[places]] for name in columns if name in blind}
    table = pd.DataFrame(taken, index=pd.Index(data.clips["clip_id"]), copy=False)
    table.iloc[np.flatnonzero(places < 0)] = np.nan
    return table


def reaching(data: Dataset, blind: pd.DataFrame | Columns) -> Covariates:
    """Collect what of a dataset's clips reaches a model."""
    texts, groups = (
        data.clips[column].tolist() if column in data.clips else [None] * len(data.clips)
        for column in ("text", "group")
    )
    known = [name for name in blind if str(name).startswith(("metadata.", "acoustic."))]
    return covariates(features_of(data, blind, known), texts, groups)


def blind_factors(data: Dataset, blind: pd.DataFrame | Columns, seed: int) -> dict[str, float]:
    """Find what training adds to the standard error of each blind family's AUC.

    Found by permutation for the families of plain numbers; text, joint and boosted take the largest of these, since
    refitting them under many labels is not affordable.
    """
    factors = {}
    for family, columns in DENSE.items():
        values = features_of(data, blind, columns).to_numpy()
        if values.shape[1] and np.isfinite(values).all():
            sample = data.sample
            null = permutation_null(
                values, sample.labels, sample.folds, sample.design, 0.5, FACTOR_DRAWS, seed, sample.strata
            )
            factors[family] = null.factor
    largest = max(factors.values(), default=1.0)
    return {family: factors.get(family, largest) for family in FAMILIES}


def overlap_row(data: Dataset, overlap: Overlap) -> dict[str, Any]:
    """One dataset's shift adjustment: what is left to compare, and whether it balances."""
    chance = overlap.fitted.chance
    return {
        "dataset": data.name,
        "n_member": int((data.labels == 1).sum()),
        "n_non_member": int((data.labels == 0).sum()),
        "effective_member": overlap.effective_member,
        "effective_non_member": overlap.effective_non_member,
        "balance_before": overlap.before.auc,
        "balance_before_low": overlap.before.low,
        "balance_before_high": overlap.before.high,
        "balance": overlap.after.auc,
        "balance_low": overlap.after.low,
        "balance_high": overlap.after.high,
        "balance_expected": overlap.expected,
        "balance_excess": overlap.excess,
        "largest_difference_before": overlap.worst_before,
        "largest_difference": overlap.worst_after,
        "covariates": overlap.fitted.covariates.shape[1],
        "propensity_quantiles_member": np.quantile(chance[data.labels == 1], [0.05, 0.25, 0.5, 0.75, 0.95]).tolist(),
        "propensity_quantiles_non_member": np.quantile(
            chance[data.labels == 0], [0.05, 0.25, 0.5, 0.75, 0.95]
        ).tolist(),
        "lost": overlap.lost,
        "nested": data.sample.design.nested,
        "groups": data.sample.design.n_groups,
        "copies": data.sample.design.copies,
        "design": data.sample.design.sentence,
        "method": "overlap weights from a cross-fitted ridge propensity; balance: gradient-boosted trees out of fold, "
        "against 20 label draws from the propensity",
    }


def pair_rows(data: Dataset, overlap: Overlap) -> list[dict[str, Any]]:
    """Members beside the non-members most like them."""
    ids = data.clips["clip_id"].tolist()
    return [
        {"dataset": data.name, "member": ids[i], "non_member": ids[j], "distance": distance}
        for i, j, distance in matched_pairs(overlap.fitted, data.labels)
    ]


def control_rows(data: Dataset, target: str, cell: pd.DataFrame, headline: Headline, seed: int) -> list[dict[str, Any]]:
    """Attacks on labels that carry no membership: random ones, and each class split against itself."""
    features = data.matrix(cell, attack.columns_of(cell))
    usable = np.isfinite(features).all(axis=1)
    null = headline.raw_null
    spread = 1.959964 * null.sd
    rows = [
        _control(data.name, target, "random labels", null.centre, null.centre - spread, null.centre + spread)
        | {"n": int(usable.sum()), "method": f"mean and 95% range of {null.draws} attacks on permuted labels"}
    ]
    rng = np.random.default_rng([seed, 5])
    for label, name in ((1, "members against members"), (0, "non-members against non-members")):
        part = np.flatnonzero(usable & (data.labels == label))
        units = data.units[part]
        side = rng.permutation(np.arange(len(np.unique(units))) % 2)
        y = side[np.unique(units, return_inverse=True)[1]]
        if min(np.bincount(y, minlength=2)) < attack.MIN_PER_CLASS or len(np.unique(units)) < 4:
            continue
        folds = attack.assign_folds(data.clips["clip_id"].iloc[part].tolist(), y, seed=seed, units=units)
        score = out_of_fold_draws(features[part], y[:, None].astype(float), np.ones((len(y), 1)), folds)[:, 0]
        found = trained_estimate(y, score, units, null.factor)
        row = _control(data.name, target, name, found.auc, found.low, found.high)
        rows.append({**row, "n": len(y), "method": "a random half against the other, attacked like the dataset"})
    return rows


def _control(dataset: str, target: str, control: str, auc: float, low: float, high: float) -> dict[str, Any]:
    """Columns of a control; it is held where its interval contains chance."""
    return {
        "dataset": dataset,
        "target": target,
        "control": control,
        "auc": auc,
        "auc_low": low,
        "auc_high": high,
        "held": bool(low <= 0.5 <= high),
    }


def grouping_rows(data: Dataset, name: str, make: Callable[[], np.ndarray]) -> list[dict[str, Any]]:
    """AUC of one attack or blind baseline under random folds and under folds that keep groups whole, side by side.

    Parameters
    ----------
    data : Dataset
    name : str
        What the features are.
    make : callable
        Gives the features, shape (n, f), which are large: it is not called where no groups are known.

    Returns
    -------
    list of dict
        One row; none where under two groups are known. A random AUC above the grouped one is what speakers give away.
    """
    if "group" not in data.clips or data.clips["group"].isna().all():
        return []
    features = make()
    usable = np.isfinite(features).all(axis=1)
    if not usable.all():  # a copy of what may be large
        features = features[usable]
    labels, ids = data.labels[usable], data.clips["clip_id"][usable].tolist()
    groups = data.clips["group"][usable]
    groups = groups.where(groups.notna(), pd.Series(ids, index=groups.index)) if groups.notna().any() else groups
    if groups.nunique() < 2:
        return []
    units = np.unique(groups.astype(str), return_inverse=True)[1]
    values = {}
    for kind, kept in (("random", None), ("grouped", units)):
        folds = attack.assign_folds(ids, labels, units=kept)
        values[kind] = attack.apply_folds(attack.fit_folds(features, labels, folds), features, folds)
    found = {kind: trained_estimate(labels, score, data.units[usable]) for kind, score in values.items()}
    return [
        {
            "dataset": data.name,
            "features": name,
            "groups": int(groups.nunique()),
            "nested": data.sample.design.nested,
            "auc_random": found["random"].auc,
            "auc_grouped": found["grouped"].auc,
            "n_member": found["random"].n_member,
            "n_non_member": found["random"].n_non_member,
        }
    ]


def reference_rows(
    data: Dataset, target: str, cell: pd.DataFrame, reference: str, other: pd.DataFrame, overlap: Overlap, seed: int
) -> list[dict[str, Any]]:
    """Score less an unexposed target's score of the same clip: as a control, and as an attack of its own.

    The difference takes off what makes a clip easy or hard for any such target; what is left is the effect of having
    met it. Where the two targets were trained on opposite halves of one pool, that effect is exact per clip. Only the
    indicators that both targets have are compared; no row where there is none.
    """
    common = [name for name in attack.columns_of(cell) if name in attack.columns_of(other)]
    if not common:
        return []
    mine, theirs = (data.matrix(table, common) for table in (cell, other))
    headline = find_headline(data.sample, mine - theirs, overlap, seed, draws=199, plain=100)
    alone = find_headline(data.sample, theirs, overlap, seed, draws=199, plain=100)
    gap = data.column(other, "nll") - data.column(cell, "nll")
    rows = []
    for kind, found, p in (
        ("the reference target's own attack", alone.adjusted, alone.adjusted_null.p),
        ("attack on the difference of indicators", headline.adjusted, headline.adjusted_null.p),
        ("difference of mean NLL, sign fixed", data.estimate(gap, weights=overlap.fitted.weights), None),
    ):
        rows.append(
            {
                "dataset": data.name,
                "target": target,
                "reference": reference,
                "kind": kind,
                "auc": found.auc,
                "auc_low": found.low,
                "auc_high": found.high,
                "p": p,
                "n_member": found.n_member,
                "n_non_member": found.n_non_member,
                "method": "shift-adjusted, original audio, generated text",
            }
        )
    return rows


def added_value(data: Dataset, blind: np.ndarray, score: np.ndarray, factor: float) -> dict[str, Any]:
    """Whether the membership score adds to the joint blind score."""
    usable = np.isfinite(blind) & np.isfinite(score)
    if not usable.any() or len(np.unique(data.labels[usable])) < 2:
        return dict.fromkeys(("added_lr", "added_p", "added_gain", "added_gain_low", "added_gain_high"))
    blind, score = _logit(blind), _logit(score)
    test = likelihood_ratio(data.labels, blind, score, factor)
    both = stack_scores(data.labels, blind, score, data.sample.folds)
    gain = auc_gain(data.labels, blind, both, data.units, factor)
    return {
        "added_lr": test.statistic,
        # A slope against the membership score is no added evidence of membership.
        "added_p": test.p if not test.slope < 0 else 1.0,
        "added_gain": gain.difference,
        "added_gain_low": gain.low,
        "added_gain_high": gain.high,
    }


def _logit(score: np.ndarray) -> np.ndarray:
    """Take a stored score in (0, 1) back to its logit; a score made elsewhere stays as it is."""
    if np.nanmin(score) < 0 or np.nanmax(score) > 1:
        return score
    inside = np.clip(score, 1e-7, 1 - 1e-7)
    return np.log(inside / (1 - inside))


def verdict_rows(
    findings: Findings,
    scores: pd.DataFrame | Scores,
    blind: Mapping[str, Mapping[str, np.ndarray]],
    blind_found: Mapping[str, Mapping[str, Estimate]],
    truths: Mapping[str, str | None],
    given: Sequence[str] = (),
    limits: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Decide on every dataset and target, with one Holm correction over all of them.

    Parameters
    ----------
    findings : Findings
    scores : pd.DataFrame
    blind : mapping
        By dataset and family: out-of-fold blind scores in the order of the dataset's clips.
    blind_found : mapping
        By dataset and family: their AUCs.
    truths : mapping
        By dataset: what is known by construction.
    given : sequence of str
        Targets whose scores were made elsewhere.
    limits : mapping of str to str or None
        By target: what is not known of it, where its weights are not at hand; said in the sentence.

    Returns
    -------
    list of dict
        Rows of `verdicts`.
    """
    keys = list(findings.headlines)
    ps = np.array([findings.headlines[key].adjusted_null.p for key in keys])
    scored = np.array([np.isfinite(findings.headlines[key].adjusted.auc) for key in keys])
    corrected = holm(np.where(scored, ps, np.nan))
    rows = []
    for key, p, p_holm in zip(keys, ps, corrected, strict=True):
        name, target = key
        data, headline, overlap = findings.datasets[name], findings.headlines[key], findings.overlaps[name]
        cells = scores_of(scores).cells(name, target)
        cell = cells[ORIGINAL]
        nll = [
            (key[2], data.estimate(-data.column(part_of(cells, key, ["nll"]), "nll"), weights=overlap.fitted.weights))
            for key in (ORIGINAL, KNOWN)
            if key in cells
        ]
        if "word_error" in attack.columns_of(cell):
            error = -data.column(cell, "word_error")
            nll = [("word error", data.estimate(error, weights=overlap.fitted.weights))]
        if target in given:
            nll = [("given", data.estimate(headline.adjusted_score, weights=overlap.fitted.weights))]
        evidence = Evidence(
            dataset=name,
            target=target,
            attack=headline.raw,
            adjusted=headline.adjusted,
            p=float(p),
            p_holm=None if np.isnan(p_holm) else float(p_holm),
            tests=int(scored.sum()),
            draws=headline.adjusted_null.draws,
            lost=overlap.lost,
            enough_groups=data.sample.design.enough_groups,
            groups=data.sample.design.sentence,
            blind=[(family, found) for family, found in blind_found[name].items() if np.isfinite(found.auc)],
            direction=[(text, found) for text, found in nll if np.isfinite(found.auc)],
        )
        score = data.column(cell, "mia_score")
        # Before the resamples are drawn, for it needs as much memory for a moment as they do.
        added = added_value(data, blind[name]["joint"], score, headline.raw_null.factor)
        rows.append(
            _verdict_row(data, headline, evidence, truths.get(name), cell)
            | _low_rates(data, score)
            | added
            | {"method": GIVEN_METHOD if target in given else headline_method(attack.columns_of(cell))}
        )
        data.let_go()
        if target in (limits or {}):
            row = rows[-1]
            row["access"] = (limits or {})[target]
            row["sentence"] = f"{row['sentence']} {WEAKER} (access: {row['access']})."
            row["changes"] = [*row["changes"], "The model's weights: all 30 indicators, and the known text scored."]
    return rows


def headline_method(columns: Sequence[str]) -> str:
    """Say how a headline is made from these indicators."""
    return HEADLINE_METHOD.format(columns=len(columns))


def _verdict_row(
    data: Dataset, headline: Headline, evidence: Evidence, truth: str | None, cell: pd.DataFrame
) -> dict[str, Any]:
    """Columns of one verdict."""
    decided = decide(evidence)
    raw, adjusted, null = headline.raw, headline.adjusted, headline.adjusted_null
    lost = missingness(data.labels, ~np.isfinite(data.column(cell, "mia_score")))
    return {
        "dataset": evidence.dataset,
        "target": evidence.target,
        "phase1": decided.phase1,
        "verdict": decided.verdict,
        "sentence": decided.sentence,
        "phase1_sentence": decided.phase1_sentence,
        "reasons": [decided.phase1_sentence, *(step.because for step in decided.steps)],
        "steps": [asdict(step) for step in decided.steps],
        "changes": list(decided.changes),
        "n_member": raw.n_member,
        "n_non_member": raw.n_non_member,
        "auc": raw.auc,
        "auc_low": raw.low,
        "auc_high": raw.high,
        "factor": headline.raw_null.factor,
        "permutation_p": headline.raw_null.p,
        "adjusted_auc": adjusted.auc,
        "adjusted_low": adjusted.low,
        "adjusted_high": adjusted.high,
        "adjusted_se": adjusted.se,
        "p": null.p,
        "p_holm": evidence.p_holm,
        "tests": evidence.tests,
        "draws": null.draws,
        "detectable": decided.detectable,
        "blind_family": decided.blind_family,
        "blind_auc": decided.blind.auc if decided.blind else None,
        "blind_low": decided.blind.low if decided.blind else None,
        "blind_high": decided.blind.high if decided.blind else None,
        "direction_auc": decided.direction_auc,
        "excluded_member": lost.member,
        "excluded_non_member": lost.non_member,
        "excluded_p": lost.p,
        "truth": truth,
        "trained_members": _trained(cell, 1),
        "trained_non_members": _trained(cell, 0),
    }


def _low_rates(data: Dataset, score: np.ndarray) -> dict[str, Any]:
    """TPR at low FPR with its interval, None where there are too few non-members to show it."""
    row: dict[str, Any] = {}
    usable = np.isfinite(score)
    weights = data.weights if usable.all() else data.weights[usable]
    for rate in LOW_FPRS:
        name = f"tpr_at_{rate:g}"
        found = tpr_at_fpr(data.labels[usable], score[usable], rate, weights)
        values = (found.tpr, found.low, found.high) if found.shown else (None, None, None)
        row |= dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))
        row[f"{name}_needs"] = found.n_needed
    return row


def _trained(cell: pd.DataFrame, label: int) -> bool | None:
    """Whether the target was trained on all clips of a class (True) or on none (False); None if mixed or not known."""
    if "trained" not in cell:
        return None
    known = cell.loc[cell["label"] == label, "trained"]
    if not len(known) or known.isna().any():
        return None
    values = set(known.astype(bool))
    return values.pop() if len(values) == 1 else None
