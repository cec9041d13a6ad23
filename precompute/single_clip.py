"""Score one clip that is not in the bundle, from the numbers in ``models.json`` and a loaded target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from precompute.attack import LinearModel, sigmoid
from precompute.clips import SAMPLE_RATE, InputError
from precompute.indicators import LABEL_ONLY, TokenStats, indicators
from precompute.labels import label_indicators
from precompute.statistics.single_clip import REFUSE_BELOW, Share, share_at_least, typicality
from precompute.targets.base import Target

BLIND_METHOD = "sound and duration alone: neither the transcript nor the file format of an uploaded clip is known"

UNUSUAL = 0.05
"""Share of known non-members at or below which a score is called unusual."""


def score_clip(
    samples: np.ndarray,
    text: str | None,
    models: Mapping[str, Any],
    dataset: str,
    target_id: str,
    target: Target,
    prompt: str,
    max_new_tokens: int,
    source: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Place a new clip among a dataset's known members and non-members.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,)]
        Mono float32 audio at 16 kHz.
    text : str or None
        What is said in it, where known; the blind text score uses it, and a target that gives its text and nothing
        else cannot be judged without it.
    models : mapping
        ``models.json`` of the bundle.
    dataset, target_id : str
        Which dataset's clips to compare with, and which target's models to use.
    target : Target
        The loaded target of that id.
    prompt : str
    max_new_tokens : int
        As in the audit, or the scores are not comparable.
    source : mapping or None
        What is known of the file (for instance `sample_rate` in Hz), handed through.

    Returns
    -------
    dict
        `generated_text`; `tokens` (list of `text, nll, entropy, gap`); `indicators`; `fold_logits`; `score` in (0, 1),
        the sigmoid of the mean logit; `share_non_members`, the share of known non-members scoring at least as high
        (each fold's model against its own held-out non-members) with its `floor` and `n_non_members`;
        `percentile_members`, the share of known members scoring at most as high, and `n_members`; `blind` (`score,
        share_non_members, floor, method, text_score`); `typical`, `typical_share`, `typical_n`; `refusal` (a sentence,
        or None) and `reason`; `source`. Where the clip is refused the shares are None: a clip unlike the dataset cannot
        be ranked among its clips. Numbers that the target does not tell are None too.

    Raises
    ------
    InputError
        If the bundle has no models for this dataset and target, or there is no audio.
    """
    samples = np.asarray(samples, dtype=np.float32)
    if samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
        raise InputError("the clip holds no usable audio: one channel of finite samples is needed")
    known = models.get(dataset, {})
    if target_id not in known:
        raise InputError(f"this bundle has no models for {target_id} on {dataset}")
    folds = known[target_id]["folds"]
    (stats,) = target.generate([samples], prompt, max_new_tokens)
    used = known[target_id]["indicators"]
    labels_only = set(used) <= set(LABEL_ONLY)
    values = indicators(stats) | (label_indicators(text, stats.text) if labels_only else {})
    row = np.array([[values[name] for name in used]])
    scored = bool(np.isfinite(row).all())
    logits = [float(LinearModel.from_numbers(fold).logit(row)[0]) for fold in folds] if scored else []
    features = _features(samples)
    judged = _judge(known.get("typicality"), features)
    refusal = judged["refusal"]
    if not scored:
        refusal = "The target wrote nothing for this clip, so there is nothing to score."
        if labels_only and stats.text and not text:
            refusal = "This target gives its text and nothing else, so only a clip whose text is known can be scored."
    usable = scored and refusal is None
    above = share_at_least(logits, _heldout(folds, 0)) if usable else None
    members = _heldout(folds, 1)
    return {
        "generated_text": stats.text,
        "tokens": _tokens(stats),
        "indicators": {name: _known(value) for name, value in values.items()},
        "fold_logits": logits,
        "score": _score(logits),
        "share_non_members": above.share if above else None,
        "floor": above.floor if above else None,
        "n_non_members": sum(len(values) for values in _heldout(folds, 0)),
        "percentile_members": _share_at_most(logits, members) if usable else None,
        "n_members": sum(len(values) for values in members),
        "blind": _blind(known.get("blind", {}), features, text, ranked=refusal is None),
        **{**judged, "refusal": refusal},
        "source": dict(source) if source else None,
    }


def sentence(result: Mapping[str, Any]) -> str:
    """Say what the score of one clip allows to say, and no more.

    Parameters
    ----------
    result : mapping
        Of `score_clip`.

    Returns
    -------
    str
    """
    if result["refusal"]:
        return f"{result['refusal']} {result['reason'] or ''}".strip()
    share, n = result["share_non_members"], result["n_non_members"]
    members = result["percentile_members"]
    rank = "" if members is None else f" It scores at least as high as {members:.0%} of the known members."
    if share > UNUSUAL:
        return (
            f"Not unusual for a clip the target never met: {share:.0%} of {n} known non-members score at least as "
            f"high.{rank}"
        )
    return (
        f"Unusually member-like: {share:.1%} of {n} known non-members score at least as high.{rank} With {n} known "
        f"non-members the share cannot fall below {result['floor']:.1%}."
    )


def _features(samples: np.ndarray) -> dict[str, float]:
    """Measure what is known of an uploaded clip without the target."""
    from precompute.blind.acoustic import acoustic_features

    return {**acoustic_features(samples), "metadata.duration_s": len(samples) / SAMPLE_RATE}


def _tokens(stats: TokenStats) -> list[dict[str, Any]]:
    """One row per token for the confidence strip; none where a token's probability is not known."""
    if not np.isfinite(stats.logprob).all():
        return []
    columns = zip(stats.tokens, -stats.logprob, stats.entropy, stats.gap, strict=True)
    return [
        {"text": text, "nll": float(nll), "entropy": _known(entropy), "gap": _known(gap)}
        for text, nll, entropy, gap in columns
    ]


def _known(value: float) -> float | None:
    """Plain number; None for NaN, which JSON cannot hold."""
    return None if np.isnan(value) else float(value)


def _score(logits: Sequence[float]) -> float | None:
    """Sigmoid of the mean logit over folds."""
    return float(sigmoid(np.array([np.mean(logits)]))[0]) if logits else None


def _heldout(folds: Sequence[Mapping[str, Any]], label: int) -> list[np.ndarray]:
    """Logits of each fold's held-out clips of one class."""
    found = []
    for fold in folds:
        labels, logits = np.asarray(fold["heldout"]["label"]), np.asarray(fold["heldout"]["logit"], dtype=float)
        found.append(logits[labels == label])
    return found


def _share_at_most(logits: Sequence[float], heldout: Sequence[np.ndarray]) -> float | None:
    """Share of known clips that score at most as high, fold by fold."""
    n = sum(len(known) for known in heldout)
    count = sum(int((known <= logit).sum()) for logit, known in zip(logits, heldout, strict=True))
    return count / n if n else None


def _judge(model: Mapping[str, Any] | None, features: Mapping[str, float]) -> dict[str, Any]:
    """Whether the clip could have come from the dataset, judged without the target."""
    if not model:
        reason = "This bundle does not say what the dataset's clips sound like, so likeness was not checked."
        return {"typical": True, "typical_share": None, "typical_n": 0, "refusal": None, "reason": reason}
    row = np.array([features[name] for name in model["features"]])
    found = typicality(model["folds"], row)
    judged = {"typical": found.share >= REFUSE_BELOW, "typical_share": found.share, "typical_n": found.n}
    if judged["typical"]:
        return {**judged, "refusal": None, "reason": _likeness(found)}
    odd = ", ".join(_oddest(model, row))
    return {
        **judged,
        "refusal": "This clip is unlike the dataset, so its score cannot be compared with those of the known clips.",
        "reason": f"{_likeness(found)} It differs most in {odd}.",
    }


def _likeness(found: Share) -> str:
    """How far out the clip lies, in words."""
    if found.floor >= REFUSE_BELOW:
        return f"The dataset has only {found.n} known clips, too few to tell whether this one is unlike them."
    return (
        f"By sound and duration {found.share:.1%} of the dataset's {found.n} clips lie at least as far out as this one."
    )


def _oddest(model: Mapping[str, Any], row: np.ndarray, count: int = 3) -> list[str]:
    """Name the features in which the clip is farthest from the dataset's mean, in standard deviations."""
    mean = np.mean([fold["mean"] for fold in model["folds"]], axis=0)
    scale = np.mean([fold["scale"] for fold in model["folds"]], axis=0)
    away = (row - mean) / scale
    order = np.argsort(-np.abs(away), kind="stable")[:count]
    names = [model["features"][i].split(".", 1)[1].replace("_", " ") for i in order]
    return [f"{name} ({away[i]:+.1f} sd)" for name, i in zip(names, order, strict=True)]


def _blind(
    models: Mapping[str, Any], features: Mapping[str, float], text: str | None, ranked: bool
) -> dict[str, Any] | None:
    """Blind score of the clip: how member-like it looks before any target hears it."""
    from precompute.blind.text import text_logit

    upload = models.get("upload")
    if not upload or not upload["folds"]:
        return None
    row = np.array([[features[name] for name in upload["features"]]])
    logits = [float(LinearModel.from_numbers(fold).logit(row)[0]) for fold in upload["folds"]]
    above = share_at_least(logits, _heldout(upload["folds"], 0)) if ranked else None
    written = models.get("text", {}).get("folds") or []
    return {
        "score": _score(logits),
        "share_non_members": above.share if above else None,
        "floor": above.floor if above else None,
        "method": BLIND_METHOD,
        "text_score": _score([text_logit(fold, text) for fold in written]) if text and written else None,
    }
