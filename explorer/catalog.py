"""What a bundle holds, in the order the pages show it: datasets, targets, inputs, texts and their words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from precompute.bundle import Bundle
from precompute.conditions import CONDITIONS
from precompute.hearing import is_captioned
from precompute.indicators import EXPLANATIONS, INDICATORS, LABEL_ONLY

FAMILIES = {
    "acoustic": "acoustic",
    "metadata": "metadata",
    "text": "{text}",
    "fingerprint": "how the file was made",
    "joint": "all three joined",
    "boosted": "all, boosted trees",
}
"""Blind family to its name on the page, in the order of the selector; ``{text}`` as in `TEXTS`."""

TEXTS = {
    "generated": ("what the model wrote", "The model decodes anew from this audio, then that text is scored."),
    "carried": ("what it wrote for the original", "The text written for the original audio, scored under this audio."),
    "reference": (
        "the known {text}",
        "The known {text}, scored under this audio: shows memory of the text itself.",
    ),
}
"""Scored text to (label, explanation); ``{text}`` is what a dataset's texts are, see `Words`."""

FITS = {
    "refit": ("refitted here", "The attack is fitted anew, ten-fold, inside this condition."),
    "transfer": ("carried over", "The attack is fitted on the original audio and applied to this condition."),
}
"""Way of using the classifier to (label, explanation)."""


@dataclass(frozen=True)
class Words:
    """How the pages speak of a dataset's texts, and of what resynthesis makes of them.

    Parameters
    ----------
    text : str
        What a known text is called.
    source : str
        What carries it in the original.
    other, others : str
        What carries it in resynthesis, one and several.
    unread : str
        Said of audio that the target does not take in.
    """

    text: str
    source: str
    other: str
    others: str
    unread: str


TRANSCRIPTS = Words("transcript", "voice", "another voice", "voices", "cannot read")
CAPTIONS = Words("caption", "recording", "another rendering", "renderings", "cannot make out")
EITHER = Words(
    "transcript or caption", "recording", "another voice or rendering", "voices or renderings", "cannot take in"
)
"""Where a page speaks of all datasets at once."""


def scored_texts(words: Words) -> dict[str, tuple[str, str]]:
    """`TEXTS` in the words of a dataset."""
    return {name: (label.format(text=words.text), why.format(text=words.text)) for name, (label, why) in TEXTS.items()}


def family_label(family: str, words: Words) -> str:
    """Name of a blind family in the words of a dataset; an unknown one is called as it is."""
    return FAMILIES.get(family, family).format(text=words.text)


INPUT_LABELS = {
    "original": "original",
    "silence": "silence",
    "silence_fixed": "silence, one length",
    "noise": "noise",
    "noise_fixed": "noise, one length",
}


@dataclass(frozen=True)
class Input:
    """One audio condition in one realization.

    Parameters
    ----------
    condition : str
    realization : int
    realizations : int
        How many the condition has.
    key : str
        For the address: ``noise``, ``resynthesis-1``.
    """

    condition: str
    realization: int
    realizations: int
    key: str

    def label(self, words: Words) -> str:
        """Name on a button, in the words of a dataset."""
        return input_label(self.condition, self.realization, self.realizations, words)

    @property
    def description(self) -> str:
        """What is heard, in a sentence."""
        known = CONDITIONS.get(self.condition)
        return known.description if known else self.condition


@dataclass(frozen=True)
class Catalog:
    """Names and order of everything in a bundle; every number a page sends back is an index into these.

    Parameters
    ----------
    bundle : Bundle
    """

    bundle: Bundle

    @cached_property
    def datasets(self) -> list[dict[str, Any]]:
        """Datasets as ``audit.json`` describes them."""
        return list(self.bundle.audit["datasets"])

    @cached_property
    def targets(self) -> list[dict[str, Any]]:
        """Targets as ``audit.json`` describes them."""
        return list(self.bundle.audit["targets"])

    @cached_property
    def inputs(self) -> list[Input]:
        """Every condition and realization, the original first."""
        return [
            Input(c["name"], r, c["realizations"], input_key(c["name"], r, c["realizations"]))
            for c in self.bundle.audit["conditions"]
            for r in range(c["realizations"])
        ]

    @cached_property
    def families(self) -> list[str]:
        """Blind families with scores in this bundle."""
        return [name for name in FAMILIES if f"{name}_score" in self.bundle.stored("blind").columns]

    @cached_property
    def pairs(self) -> set[tuple[str, str]]:
        """Every (dataset, target) that was scored."""
        return {(str(name), str(target)) for name, target in self.bundle.stored("scores").distinct("dataset", "target")}

    @cached_property
    def verdicts(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Verdict rows by (dataset, target)."""
        return {(row["dataset"], row["target"]): row for row in self.bundle.results["verdicts"]}

    @cached_property
    def _words(self) -> dict[str, Words]:
        groups = self.bundle.clips.groupby("dataset", sort=False)
        return {str(name): CAPTIONS if is_captioned(rows) else TRANSCRIPTS for name, rows in groups}

    def words(self, dataset: str) -> Words:
        """How to speak of a dataset's texts: as captions where all of its clips are sounds or music."""
        return self._words.get(dataset, TRANSCRIPTS)

    def task(self, dataset: str) -> str:
        """Task of a dataset's first clip, which a clip that is compared with them is taken to have."""
        clips = self.bundle.clips
        rows = clips[clips["dataset"] == dataset]
        return str(rows["task"].iloc[0]) if "task" in rows and len(rows) else "speech"

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Rows of a table of the results; none where the bundle is older than the table."""
        return self.bundle.results.get(table) or []

    def title(self, dataset: str) -> str:
        """Title of a dataset, or its name."""
        found = next((row for row in self.datasets if row["name"] == dataset), {})
        return found.get("title") or dataset

    def label(self, dataset: str) -> str:
        """Name of a dataset for a selector, with its title where that says more."""
        title = self.title(dataset)
        return dataset if title.startswith(dataset) else f"{dataset}: {title}"

    def targets_of(self, dataset: str) -> list[int]:
        """Give the indices of the targets that scored a dataset."""
        return [i for i, target in enumerate(self.targets) if (dataset, target["id"]) in self.pairs]

    def indicators_of(self, target: int) -> tuple[str, ...]:
        """Name what the attack on a target reads: four indicators of its text where it gives no probability."""
        return LABEL_ONLY if self.targets[target].get("access") == "labels" else INDICATORS

    @property
    def partial(self) -> str:
        """A sentence where only a part was audited, else nothing."""
        part = str(self.bundle.audit.get("part", "all"))
        return "" if part == "all" else f"This bundle audits a part of each dataset: {part}."

    def for_browser(self) -> dict[str, Any]:
        """Everything small that the Dataset page needs before any column."""
        return {
            "datasets": [self._dataset(row) for row in self.datasets],
            "targets": [{"name": row["id"]} for row in self.targets],
            "inputs": [{"key": i.key, "description": i.description} for i in self.inputs],
            "texts": list(TEXTS),
            "fits": {name: {"label": label, "explanation": why} for name, (label, why) in FITS.items()},
            "indicators": {name: EXPLANATIONS[name] for name in (*INDICATORS, *LABEL_ONLY)},
            "verdicts": {
                f"{d}.{t}": {
                    "verdict": row.get("verdict"),
                    "sentence": said(row),
                    "adjusted": {f"auc{end}": row.get(f"adjusted{end or '_auc'}") for end in ("", "_low", "_high")},
                }
                for d, dataset in enumerate(self.datasets)
                for t, target in enumerate(self.targets)
                if (row := self.verdicts.get((dataset["name"], target["id"])))
            },
        }

    def _dataset(self, row: dict[str, Any]) -> dict[str, Any]:
        words = self.words(row["name"])
        return {
            "name": row["name"],
            "label": self.label(row["name"]),
            "title": self.title(row["name"]),
            "truth": row.get("truth"),
            "description": row.get("description", ""),
            "targets": self.targets_of(row["name"]),
            "word": words.text,
            "inputs": [i.label(words) for i in self.inputs],
            "texts": {name: label for name, (label, _) in scored_texts(words).items()},
            "families": {name: family_label(name, words) for name in self.families},
        }


def said(verdict: dict[str, Any]) -> str:
    """Sentence of a verdict without its word and its names, which stand beside it already."""
    sentence = str(verdict.get("sentence") or "This bundle holds no verdict here.")
    for known in (f"{verdict.get('verdict')}: ", f"{verdict.get('target')} on {verdict.get('dataset')}: "):
        sentence = sentence.removeprefix(known)
    return sentence[:1].upper() + sentence[1:]


def input_key(condition: str, realization: int, realizations: int) -> str:
    """Name of an input in the address."""
    return condition if realizations == 1 else f"{condition}-{realization + 1}"


def input_label(condition: str, realization: int, realizations: int, words: Words) -> str:
    """Name of an input on a button."""
    label = words.other if condition == "resynthesis" else INPUT_LABELS.get(condition, condition.replace("_", " "))
    return label if realizations == 1 else f"{label} {realization + 1}"
