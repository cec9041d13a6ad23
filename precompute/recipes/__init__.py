"""Recipes: a whole experiment (models, corpora, conditions, prompts, engines) in one checked-in file."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from precompute.clips import TASKS, InputError

FOLDER = Path(__file__).parent
"""Where the recipes that come with the project are."""

DTYPES = ("auto", "float32", "bfloat16", "float16")
PROTOCOLS = ("single-pass", "two-pass")


@dataclass(frozen=True)
class Recipe:
    """An experiment.

    Parameters
    ----------
    name, title : str
    source : str
        What it follows.
    models : tuple of str
        Targets: names, folders or hub ids.
    corpora : tuple of str
        Names as on the command line.
    per_class : mapping of str to int
        Clips of each class by corpus; a corpus that is not in it has its own number.
    conditions : tuple of str
        Keys of `precompute.conditions.CONDITIONS`.
    realizations : int
        Of resynthesis.
    engines : mapping of str to str
        Task to the engine that renders its texts, a key of `precompute.conditions.voices.ENGINES`.
    prompts : mapping of str to str
        Task to prompt; a task that is not in it has the target's own.
    max_new_tokens : int
    dtype : str
    protocol : str
        ``single-pass`` or ``two-pass``.
    seed : int
    note : str
        What is ours in it, for people.
    """

    name: str
    title: str
    source: str
    models: tuple[str, ...]
    corpora: tuple[str, ...]
    conditions: tuple[str, ...]
    realizations: int
    engines: Mapping[str, str]
    max_new_tokens: int
    dtype: str
    protocol: str
    seed: int
    per_class: Mapping[str, int] = field(default_factory=dict)
    prompts: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse what no audit could run."""
        from precompute.conditions import CONDITIONS
        from precompute.conditions.voices import ENGINES

        problems = [
            *(f"has no {name}" for name in ("models", "corpora", "conditions") if not getattr(self, name)),
            *unknown("condition", self.conditions, CONDITIONS),
            *unknown("task", [*self.engines, *self.prompts], TASKS),
            *unknown("engine", self.engines.values(), ENGINES),
            *unknown("corpus of per_class", self.per_class, self.corpora),
            *unknown("dtype", [self.dtype], DTYPES),
            *unknown("protocol", [self.protocol], PROTOCOLS),
        ]
        for task, engine in self.engines.items():
            if (
                task in TASKS
                and engine in ENGINES
                and (TASKS[task] == "caption") != (ENGINES[engine].reads == "caption")
            ):
                problems.append(f"gives {task} to the engine {engine}, which reads no {TASKS[task]}")
        if "original" not in self.conditions:
            problems.append("lacks the condition original, which the others are compared with")
        counts = {"realizations": self.realizations, "max_new_tokens": self.max_new_tokens, **self.per_class}
        problems += [f"has {n} for {name}, and at least 1 is needed" for name, n in counts.items() if n < 1]
        if problems:
            raise InputError(f"recipe {self.name}: {problems[0]}")


def unknown(what: str, given: Iterable[str], known: Collection[str]) -> list[str]:
    """Say which of the given names are not known."""
    there = ", ".join(known)
    return [f"there is no {what} {name!r} (there are {there})" for name in given if name not in known]


def recipe_names() -> list[str]:
    """Recipes that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load_recipe(name_or_path: str) -> Recipe:
    """Read a recipe and check it.

    Parameters
    ----------
    name_or_path : str
        Name of one that comes with the project (``paper``), or path of a ``.json`` file of one's own.

    Returns
    -------
    Recipe

    Raises
    ------
    InputError
        If there is no such recipe, or it is not what a recipe should be: the sentence names the entry.
    """
    path = FOLDER / f"{name_or_path}.json" if name_or_path in recipe_names() else Path(name_or_path)
    if not path.is_file():
        raise InputError(f"no such recipe: {name_or_path} is neither a file nor one of {', '.join(recipe_names())}")
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not a JSON file ({error})") from error
    if not isinstance(given, dict):
        raise InputError(f"{path} is not a recipe: it holds no object")
    known = {one.name: str(one.type) for one in fields(Recipe)}
    required = [name for name in known if name not in ("per_class", "prompts", "note", "name")]
    for name in given:
        if name not in known:
            raise InputError(f"{path}: no such entry: {name} (there are {', '.join(known)})")
    for name in required:
        if name not in given:
            raise InputError(f"{path}: has no entry {name}")
    typed = {name: typed_entry(path, name, value, known[name]) for name, value in given.items()}
    return Recipe(**{"name": path.stem, **typed})


def typed_entry(path: Path, name: str, value: Any, kind: str) -> Any:
    """Check an entry against the type of its field; lists become tuples.

    Parameters
    ----------
    path : Path
    name : str
    value : Any
    kind : str
        As the field is annotated.
    """
    form, what = FORMS[kind]
    good = isinstance(value, form) and not isinstance(value, bool)
    if good and kind == "tuple[str, ...]":
        good = all(isinstance(one, str) for one in value)
    if good and kind.startswith("Mapping"):
        inner = int if kind.endswith("int]") else str
        good = all(isinstance(one, inner) and not isinstance(one, bool) for one in value.values())
    if not good:
        raise InputError(f"{path}: {name} should be {what}")
    return tuple(value) if form is list else value


FORMS: dict[str, tuple[type, str]] = {
    "str": (str, "a text"),
    "int": (int, "a whole number"),
    "tuple[str, ...]": (list, "a list of texts"),
    "Mapping[str, str]": (dict, "an object of texts"),
    "Mapping[str, int]": (dict, "an object of whole numbers"),
}
"""Annotation of a field of `Recipe` to what it is in JSON, and how to say that."""
