"""What bfloat16 weights do to an audit, with a float32 head and with the model's own, against float32 throughout."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from precompute import attack
from precompute.bench.figures import Part, Size
from precompute.bench.scoring import TARGET, OursRows
from precompute.clips import Clip, Cohort
from precompute.corpora import limited
from precompute.scores import Plan, score_clips
from precompute.statistics.delong import delong_paired
from precompute.statistics.roc import auc
from precompute.store import Store
from precompute.tables import ORIGINAL, cells_of
from precompute.targets.head import float32_logits, logit_bound
from precompute.units import table_design

if TYPE_CHECKING:
    import pandas as pd
    import torch

FLOAT32_HEAD, OWN_HEAD = "bfloat16, float32 head", "bfloat16, bfloat16 head"
CONDITIONS = ("original", "silence", "noise")


def measure(size: Size) -> Part:
    """Score an embedded cohort with either type of weights and either head.

    Parameters
    ----------
    size : Size

    Returns
    -------
    Part
    """
    from precompute.corpora.core_sounds import core_clean
    from precompute.targets import load_target

    cohort = limited(core_clean(), 20 if size.quick else None, 0)
    plan = Plan(CONDITIONS)
    part = Part(
        f"bfloat16 weights against float32, embedded target {TARGET}",
        f"{cohort.name} under {len(CONDITIONS)} inputs. The head alone against the exact product of the same hidden "
        "states and weights; then whole audits. Given texts are the transcripts. AUC: of the attack's out-of-fold "
        "scores, original audio and generated text, DeLong's paired interval.",
    )
    own: Any = load_target(TARGET, dtype="bfloat16")
    add_head(part, own, cohort.clips[: size.pick(10, 60)], plan)
    del own.model.get_output_embeddings().forward  # what loading put there; the class's own is left
    targets = {
        "float32": load_target(TARGET, dtype="float32"),
        FLOAT32_HEAD: load_target(TARGET, dtype="bfloat16"),
        OWN_HEAD: own,
    }
    rows = {name: scored(target, cohort.clips, plan) for name, target in targets.items()}
    for name in (FLOAT32_HEAD, OWN_HEAD):
        add_texts(part, name, rows["float32"], rows[name])
    table = clip_table(cohort)
    fold_of = attack.dataset_folds(table)
    scores = {name: membership(one, table, fold_of) for name, one in rows.items()}
    for name in (FLOAT32_HEAD, OWN_HEAD):
        add_auc(part, name, table, scores["float32"], scores[name])
    return part


def scored(target: Any, clips: Sequence[Clip], plan: Plan) -> OursRows:
    """Score clips from nothing."""
    with tempfile.TemporaryDirectory() as folder, Store(folder) as store:
        return list(score_clips(target, clips, plan, store, lambda _: None))


def add_head(part: Part, target: Any, clips: Sequence[Clip], plan: Plan) -> None:
    """Compare both heads with the exact product, and the float32 one with its bound.

    Parameters
    ----------
    part : Part
        Gets the figures.
    target : ChatTarget
        With weights of a half type.
    clips : sequence of Clip
    plan : Plan
    """
    import torch

    head = target.model.get_output_embeddings()
    hidden = hidden_states(target, clips, plan)
    with torch.inference_mode():
        exact = hidden.double() @ head.weight.double().T
        float32 = float32_logits(head, hidden).double()
        half = torch.nn.functional.linear(hidden, head.weight).double()
        bound = logit_bound(head, hidden)
        exact_p = exact.log_softmax(-1)
        numbers = {
            "size of a logit": exact.abs(),
            "float32 head: error of a logit": (float32 - exact).abs(),
            "float32 head: bound on it": bound,
            "float32 head: error of a log-probability": (float32.log_softmax(-1) - exact_p).abs(),
            "float32 head: bound on it, 2 x the largest of the vocabulary": 2 * bound.amax(-1),
            "bfloat16 head: error of a logit": (half - exact).abs(),
            "bfloat16 head: error of a log-probability": (half.log_softmax(-1) - exact_p).abs(),
        }
    for what, values in numbers.items():
        add_spread(part, what, values.cpu().numpy().ravel(), "nats")
    over = {"float32": (float32 - exact).abs() > bound, "bfloat16": (half - exact).abs() > bound}
    for name, outside in over.items():
        part.add(f"{name} head: logits outside the bound", outside.float().mean().item(), "share", f"{exact.numel():,}")


def hidden_states(target: Any, clips: Sequence[Clip], plan: Plan) -> torch.Tensor:
    """Collect what the head reads while clips are scored, shape (n, H)."""
    import torch

    read: list[torch.Tensor] = []
    head = target.model.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].flatten(0, -2)))
    try:
        scored(target, clips, plan)
    finally:
        hook.remove()
    return torch.cat(read)


def add_texts(part: Part, name: str, plain: OursRows, other: OursRows) -> None:
    """Compare token log-probabilities of given texts, and the texts written.

    Parameters
    ----------
    part : Part
        Gets the figures.
    name : str
        Of the other side.
    plain, other : list of (dict, TokenStats)
        Of the same clips and inputs.
    """
    known = {_key(row): (row, stats) for row, stats in other}
    pairs = [(row, stats, *known[_key(row)]) for row, stats in plain]
    given = [one for one in pairs if one[0]["scored_text"] == "reference"]
    moved = np.concatenate([np.abs(stats.logprob - changed.logprob) for _, stats, _, changed in given])
    add_spread(part, f"{name}: change of a given token's log-probability", moved, "nats")
    nll = np.array([abs(row["nll"] - changed["nll"]) for row, _, changed, _ in given])
    add_spread(part, f"{name}: change of a given text's mean NLL", nll, "nats")
    alike = [np.array_equal(one[1].ids, one[3].ids) for one in pairs if one[0]["scored_text"] == "generated"]
    part.add(f"{name}: texts written alike", float(np.mean(alike)), "share", f"{len(alike):,}")


def add_spread(part: Part, what: str, values: np.ndarray, unit: str) -> None:
    """Note median and maximum of values."""
    n = f"{len(values):,}"
    part.add(f"{what}, median", float(np.median(values)), unit, n)
    part.add(f"{what}, maximum", float(values.max()), unit, n)


def clip_table(cohort: Cohort) -> pd.DataFrame:
    """Clips of a cohort, with what tells which of them are independent."""
    import pandas as pd

    rows = [
        {"clip_id": clip.clip_id, "label": label, "group": clip.group, "text": clip.text}
        for clip, label in zip(cohort.clips, cohort.labels, strict=True)
    ]
    return pd.DataFrame(rows)


def membership(rows: OursRows, table: pd.DataFrame, fold_of: pd.Series) -> np.ndarray:
    """Give the attack's out-of-fold scores of original audio and generated text, in the order of `table`."""
    import pandas as pd

    cell = cells_of(pd.DataFrame([row for row, _ in rows]))[ORIGINAL]
    cells = {ORIGINAL: cell.merge(table[["clip_id", "label"]], on="clip_id")}
    columns: Mapping[Any, pd.DataFrame] = dict(attack.cell_scores(cells, fold_of))
    return columns[ORIGINAL]["mia_score"].loc[table["clip_id"]].to_numpy(dtype=float)


def add_auc(part: Part, name: str, table: pd.DataFrame, plain: np.ndarray, other: np.ndarray) -> None:
    """Compare the AUC of two scores of the same clips; those that either side could not score are left out.

    Parameters
    ----------
    part : Part
        Gets the figures.
    name : str
        Of the other side.
    table : pd.DataFrame
        From `clip_table`.
    plain, other : np.ndarray [shape=(n,)]
        From `membership`.
    """
    usable = np.isfinite(plain) & np.isfinite(other)
    labels, units = table["label"].to_numpy()[usable], table_design(table).units[usable]
    found = delong_paired(labels, other[usable], plain[usable], units)
    n = f"{int(usable.sum()):,} clips, float32 has {auc(labels, plain[usable]):.4f}"
    part.add(f"{name}: change of the AUC", f"{found.difference:+.5f} [{found.low:+.5f}, {found.high:+.5f}]", "", n)


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Name a scored text within one side."""
    return row["clip_id"], row["condition"], row["realization"], row["scored_text"]
