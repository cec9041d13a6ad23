"""What of a target lies on this machine, and what would have to come from the hub, found without loading it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from precompute.targets import check_name, split_revision, target_folder

WEIGHTS = re.compile(r"[^/]*\.safetensors")
NEEDED = re.compile(r"[^/]*\.(safetensors|json|jinja|txt|model)")
"""Files at the top of a model's repository that a target is loaded from."""

TIMEOUT = 10.0
"""Seconds the hub is given to describe a model."""


@dataclass(frozen=True)
class Place:
    """Where a target is.

    Parameters
    ----------
    here : bool
        Whether it can be loaded without the network.
    words : str
        The same for people, and what keeps one from it.
    gated : bool or None
        Whether the hub asks for an account and agreement; None where that is not known from here.
    download_bytes : int or None
        Still to be fetched; None where that is not known.
    """

    here: bool
    words: str
    gated: bool | None = None
    download_bytes: int | None = None


def whereabouts(name: str, endpoint: str | None = None) -> Place:
    """Find a target.

    Parameters
    ----------
    name : str
        As for `precompute.targets.load_target`.
    endpoint : str or None
        Address of the hub; None takes the usual one.

    Returns
    -------
    Place

    Raises
    ------
    InputError
        If the name can be no target.
    """
    check_name(name)
    if name.startswith("api:"):
        return Place(False, "behind an endpoint", False, 0)
    if target_folder(name) is not None:
        return Place(True, "here", False, 0)
    hub_id, revision = split_revision(name)
    if is_cached(hub_id, revision):
        return Place(True, "in the hub's cache here", download_bytes=0)
    return on_hub(hub_id, revision, endpoint)


def is_cached(hub_id: str, revision: str | None) -> bool:
    """Whether the hub's cache on this machine has a model's configuration and weights."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(hub_id, "config.json", revision=revision)
    return isinstance(config, str) and any(Path(config).parent.glob("*.safetensors"))


def on_hub(hub_id: str, revision: str | None, endpoint: str | None = None) -> Place:
    """Ask the hub about a model: whether it is gated, and how large the files are that a target is loaded from."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        info = HfApi(endpoint).model_info(hub_id, revision=revision, timeout=TIMEOUT, files_metadata=True)
    except GatedRepoError:
        return Place(False, "on the hub, gated: ask for access on its page and log in with `hf auth login`", True)
    except RevisionNotFoundError:
        return Place(False, f"on the hub, which has no revision {revision} of it")
    except RepositoryNotFoundError:
        return Place(False, "not on the hub, or private")
    except (HTTPError, OSError):
        return Place(False, "not here, and the hub cannot be asked from here")
    gated = bool(info.gated)
    words = "on the hub, gated: ask for access on its page and log in with `hf auth login`" if gated else "on the hub"
    files = {file.rfilename: file.size for file in info.siblings or [] if NEEDED.fullmatch(file.rfilename)}
    if not any(WEIGHTS.fullmatch(file) for file in files) or None in files.values():
        return Place(False, words, gated)
    return Place(False, words, gated, sum(size or 0 for size in files.values()))
