"""Any dataset on the hub, written as a name: ``hf:OWNER/NAME?member=train&non_member=test&text=sentence``."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from precompute.clips import InputError
from precompute.corpora.hub import Columns, HubCorpus, Value

OPTIONS = {
    "config": "configuration (subset)",
    "revision": "branch, tag or commit",
    "member": "splits of members, with commas between them (default: train)",
    "non_member": "splits of non-members (default: test)",
    "split": "splits that hold both classes; then label is needed",
    "label": "column that says member or non-member, 1 or 0, true or false",
    "audio": "audio column (default: audio)",
    "text": "column of the transcript or caption (default: none is read)",
    "group": "column of the speaker, recording or source",
    "id": "column that names a clip",
    "task": "speech, sound or music (default: speech)",
    "language": "ISO 639-1 code",
    "per_class": "clips of each class (default: 1000)",
    "max_seconds": "longer clips are left out (default: 30)",
    "name": "name of the cohort (default: OWNER-NAME)",
}
"""What may follow the question mark, and what it means."""


def parsed(name: str) -> HubCorpus:
    """Understand a name.

    Parameters
    ----------
    name : str
        ``hf:OWNER/NAME``, options of `OPTIONS` after a question mark, ``&`` between them; special characters as in
        a web address (``%20`` for a space).

    Returns
    -------
    HubCorpus

    Raises
    ------
    InputError
        If it is not of that form.
    """
    hub_id, _, query = name.removeprefix("hf:").partition("?")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", hub_id):
        raise InputError(f"{name}: a dataset on the hub is written hf:OWNER/NAME")
    options = read_options(name, query)
    members, others = splits(name, options)
    text = options.get("text")
    return HubCorpus(
        name=options.get("name", "-".join([*hub_id.split("/"), *([options["config"]] if "config" in options else [])])),
        title=hub_id + (f" ({options['config']})" if "config" in options else ""),
        hub_id=hub_id,
        member_splits=members,
        non_member_splits=others,
        columns=Columns(
            audio=options.get("audio", "audio"),
            text=(Value(text),) if text else (),
            group=Value(options["group"]) if "group" in options else None,
            id=Value(options["id"]) if "id" in options else None,
            label=options.get("label"),
        ),
        config=options.get("config"),
        revision=options.get("revision", "main"),
        task=options.get("task", "speech"),
        language=options.get("language"),
        per_class=int(number(name, options, "per_class", 1000)),
        max_seconds=number(name, options, "max_seconds", 30.0),
        licence="see the dataset's page",
        attribution=f"{hub_id} on the Hugging Face hub",
        homepage=f"https://huggingface.co/datasets/{hub_id}",
    )


def read_options(name: str, query: str) -> dict[str, str]:
    """Read the options after the question mark; each at most once, none unknown, none empty."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError as error:
        raise InputError(f"{name}: after the question mark come OPTION=VALUE with & between them") from error
    options = dict(pairs)
    for option, value in pairs:
        if option not in OPTIONS:
            raise InputError(f"{name}: no such option: {option} (there are {', '.join(OPTIONS)})")
        if not value or [known for known, _ in pairs].count(option) > 1:
            raise InputError(f"{name}: {option} needs one value")
    return options


def splits(name: str, options: dict[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Work out the splits of members and of non-members."""
    if "label" in options or "split" in options:
        if not ("label" in options and "split" in options) or "member" in options or "non_member" in options:
            raise InputError(f"{name}: give either split and label, or member and non_member")
        both = tuple(options["split"].split(","))
        return both, both
    members = tuple(options.get("member", "train").split(","))
    others = tuple(options.get("non_member", "test").split(","))
    if set(members) & set(others):
        raise InputError(f"{name}: one split cannot be both member and non_member; a label column is given as label")
    return members, others


def number(name: str, options: dict[str, str], option: str, default: float) -> float:
    """Read a positive number."""
    try:
        value = float(options.get(option, default))
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise InputError(f"{name}: {option} {options[option]!r} is not a positive number")
    return value
