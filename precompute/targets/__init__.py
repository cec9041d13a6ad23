"""Targets: the models under audit, found by embedded name, folder or hub id.

Importing this package costs nothing; torch and transformers are loaded by `load_target`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from precompute.clips import InputError

if TYPE_CHECKING:
    from precompute.targets.base import Target
    from precompute.targets.families import Family
    from precompute.targets.loading import Placement, Source

EMBEDDED: dict[str, str] = {
    "tiny-audio-flamingo": "Audio Flamingo 3 in small, trained on half A of the embedded speech until it recalls most "
    "of it word for word.",
    "tiny-music-flamingo": "Music Flamingo in small, trained on the same half A with far less exposure: the weak case.",
    "tiny-audio-flamingo-b": "The first target's recipe trained on the other half B: the unexposed control.",
    "tiny-audio-flamingo-sounds": "Audio Flamingo 3 in small, trained on half A of the synthetic notes and scenes "
    "until it recalls most of their captions word for word.",
}
"""Targets that come with the project, each with a sentence for people."""

WEIGHTS = Path(__file__).parent / "weights"
DTYPES = ("auto", "float32", "bfloat16", "float16")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_DETERMINING = {".safetensors", ".json", ".jinja", ".txt", ".model"}


def target_folder(name: str) -> Path | None:
    """Folder of a target that lies on this machine.

    Parameters
    ----------
    name : str
        Embedded name, folder or hub id.

    Returns
    -------
    Path or None
        None where the name is a hub id or nothing at all; an embedded target's folder may not exist yet.
    """
    if name in EMBEDDED:
        return WEIGHTS / name
    folder = Path(name).expanduser()
    return folder if folder.is_dir() else None


def describe() -> list[tuple[str, str, bool]]:
    """Name, description and whether its weights are there, for every embedded target."""
    return [(name, text, (WEIGHTS / name / "config.json").is_file()) for name, text in EMBEDDED.items()]


def check_name(name: str) -> None:
    """Refuse, before any time is spent, a name that can be no target.

    Parameters
    ----------
    name : str
        Embedded name, folder or hub id.

    Raises
    ------
    InputError
        If it is none of these, or an embedded target's weights are not here.
    """
    if name.startswith("api:"):
        from precompute.targets.api import address

        address(name)
        return
    if name in EMBEDDED and not (WEIGHTS / name / "config.json").is_file():
        raise InputError(f"{name}: its weights are not here; make them with `python -m precompute train {name}`")
    if target_folder(name) is None and not _is_hub_id(split_revision(name)[0]):
        raise InputError(
            f"no such target: {name} is neither an embedded one ({', '.join(EMBEDDED)}), nor a folder, "
            "nor a hub id of the form owner/name"
        )


def load_target(
    name_or_dir_or_hub_id: str,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    attention: str | None = None,
    device_map: str | None = None,
) -> Target:
    """Load a model under audit.

    Parameters
    ----------
    name_or_dir_or_hub_id : str
        Embedded name (key of `EMBEDDED`), folder in Hugging Face layout, or hub id ``owner/name``, tried in this order;
        ``owner/name@revision`` names a revision too.
    device : str
        ``auto`` (CUDA where there is one, else the CPU) or a torch device.
    dtype : str
        One of `DTYPES`; ``auto`` is float32 on the CPU and bfloat16 elsewhere.
    revision : str or None
        Hub branch, tag or commit.
    attention : str or None
        transformers' attention implementation; None takes the model's default.
    device_map : str or None
        ``auto`` spreads a model larger than one device over all there are.

    Returns
    -------
    Target

    Raises
    ------
    InputError
        If there is no such model, it cannot be reached, takes no audio, needs more memory than there is, or a part of
        it is missing.
    """
    check_name(name_or_dir_or_hub_id)
    if name_or_dir_or_hub_id.startswith("api:"):
        from precompute.targets import api

        return api.load(name_or_dir_or_hub_id)
    placement = _place(device, dtype, attention, device_map)
    source, family = _find(name_or_dir_or_hub_id, revision)
    check_memory(source, placement, family.part)
    return _load(source, family, placement)


def open_target(name: str, dtype: str) -> Target:
    """Open a target whose weights are held elsewhere, by workers of an engine, say.

    Parameters
    ----------
    name : str
        See `load_target`.
    dtype : str
        One of `DTYPES` but ``auto``: of the weights where they are.

    Returns
    -------
    Target
        Which encodes texts and refuses to score any.

    Raises
    ------
    InputError
        As `load_target`, weights aside.
    """
    from precompute.targets.elsewhere import open_elsewhere

    check_name(name)
    if dtype not in DTYPES[1:]:
        raise InputError(f"unknown dtype {dtype}: choose one of {', '.join(DTYPES[1:])}")
    return open_elsewhere(*_find(name), dtype)


def _find(name: str, revision: str | None = None) -> tuple[Source, Family]:
    """Find where a model is and which family it is of; no weights are read, but a folder's are hashed."""
    name, named = split_revision(name)
    revision = revision or named
    folder = target_folder(name)
    if folder is not None and revision is not None:
        raise InputError(f"{name}: a folder has no revisions; leave {revision} out or give a hub id")
    if folder is None:
        revision = commit(name, revision)
    family = family_of(name, _read_config(name, folder, revision))
    return _source(name, folder, revision), family


def split_revision(name: str) -> tuple[str, str | None]:
    """Split ``owner/name@revision``; other names have no revision."""
    hub_id, sign, revision = name.partition("@")
    return (hub_id, revision) if sign and revision and _is_hub_id(hub_id) else (name, None)


def family_of(name: str, config: Mapping[str, Any]) -> Family:
    """Find the family that a model's configuration names; `InputError` where it is none that can be audited."""
    from precompute.targets.families import FAMILIES, NOT_AUDITED

    model_type = str(config.get("model_type"))
    if model_type in NOT_AUDITED:
        raise InputError(f"{name}: models of type {model_type} cannot be audited: {NOT_AUDITED[model_type]}")
    if model_type not in FAMILIES:
        raise InputError(
            f"{name}: models of type {model_type} are not among the families supported, which are "
            f"{', '.join(sorted(FAMILIES))}"
        )
    return FAMILIES[model_type]


def _load(source: Source, family: Family, placement: Placement) -> Target:
    module, _, name = family.target.partition(":")
    return getattr(importlib.import_module(module), name).load(source, family, placement)


def _is_hub_id(name: str) -> bool:
    return _HUB_ID.fullmatch(name) is not None


def _source(name: str, folder: Path | None, revision: str | None) -> Source:
    from precompute.targets.loading import Source

    if folder is None:
        return Source(id=name, location=name, local=False, revision=revision or "main")
    identity = name if name in EMBEDDED else folder.resolve().name
    return Source(id=identity, location=str(folder), local=True, revision=folder_revision(folder))


def folder_revision(folder: Path) -> str:
    """Name the content of a model folder.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    str
        First 16 hexadecimal digits of SHA-256 over the names and contents of weights, configuration, tokenizer and chat
        template, adapters in folders of their own included: each of them determines the scores.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in _DETERMINING):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:16]


def commit(name: str, revision: str | None) -> str | None:
    """Pin a hub model to the commit that a branch or tag names now, where all its parts are then taken from.

    Parameters
    ----------
    name : str
        Hub id.
    revision : str or None
        None is the main branch.

    Returns
    -------
    str or None
        `revision` itself where it cannot be resolved: reading the configuration then says why.
    """
    from huggingface_hub import resolve_revision
    from huggingface_hub.errors import HTTPError, RevisionResolutionError

    try:
        return resolve_revision(name, revision=revision).resolved
    except (HTTPError, RevisionResolutionError):
        return revision


def _read_config(name: str, folder: Path | None, revision: str | None) -> dict[str, Any]:
    """Read a model's configuration file, the cheapest way to find out what it is."""
    if folder is not None and not (folder / "config.json").is_file():
        raise InputError(f"{name}: not a model folder, it has no config.json")
    from huggingface_hub.errors import GatedRepoError, HTTPError, RepositoryNotFoundError, RevisionNotFoundError
    from transformers import PreTrainedConfig

    from precompute.targets.loading import first_line

    try:
        if folder is not None:
            return PreTrainedConfig.get_config_dict(folder, local_files_only=True)[0]
        return PreTrainedConfig.get_config_dict(name, revision=revision)[0]
    except (OSError, HTTPError) as error:
        reason: BaseException | None = error
        while reason is not None:
            if isinstance(reason, GatedRepoError):
                raise InputError(
                    f"{name}: gated; ask for access on its page and log in with `hf auth login`"
                ) from error
            if isinstance(reason, RevisionNotFoundError):
                raise InputError(f"{name}: the hub has no revision {revision} of it") from error
            if isinstance(reason, RepositoryNotFoundError):
                raise InputError(f"no such target: there is no folder and no hub model named {name}") from error
            reason = reason.__cause__ or reason.__context__
        raise InputError(f"{name}: its configuration cannot be read ({first_line(error)})") from error


def _place(device: str, dtype: str, attention: str | None, device_map: str | None) -> Placement:
    """Resolve ``auto`` and refuse what this machine does not have."""
    import torch

    from precompute.targets.loading import Placement

    if dtype not in DTYPES:
        raise InputError(f"unknown dtype {dtype}: choose one of {', '.join(DTYPES)}")
    known = attentions()
    if attention is not None and attention not in known:
        raise InputError(f"unknown attention implementation {attention}: choose one of {', '.join(known)}")
    if device_map not in (None, "auto"):
        raise InputError(f"unknown device map {device_map}: there is only auto")
    if device_map is not None and importlib.util.find_spec("accelerate") is None:
        raise InputError("a device map needs the package accelerate: `pip install accelerate`")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device).type
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch has no one class for "no such device"
        raise InputError(f"device {device} cannot be used here") from error
    return Placement(device, dtype_on(kind) if dtype == "auto" else dtype, attention, device_map)


def dtype_on(device: str) -> str:
    """Resolve the dtype ``auto`` on a torch device: float32 on the CPU, bfloat16 elsewhere."""
    return "float32" if device.partition(":")[0] == "cpu" else "bfloat16"


def attentions() -> list[str]:
    """Name the attention implementations of transformers; a kernel from the hub is none of them: it is code."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    return ["eager", *(name for name in ALL_ATTENTION_FUNCTIONS.valid_keys() if "|" not in name)]


def check_memory(source: Source, placement: Placement, part: str = "") -> None:
    """Refuse, before anything large is read, weights that cannot fit.

    Parameters
    ----------
    source : Source
    placement : Placement
        With a device map, all devices and the main memory count together.
    part : str
        See `precompute.targets.families.Family`.

    Raises
    ------
    InputError
        With the size needed and the size free.
    """
    from precompute.targets.memory import free_bytes, weight_bytes

    needed = weight_bytes(source, placement.dtype, part)
    for where, free in free_bytes(placement).items():
        if needed is not None and needed > free:
            raise InputError(
                f"{source.id}: its weights need {needed / 2**30:.1f} GiB as {placement.dtype}, and "
                f"{free / 2**30:.1f} GiB are free {where}; try a shorter --dtype"
                + ("" if placement.device_map else ", or --device-map auto")
            )
