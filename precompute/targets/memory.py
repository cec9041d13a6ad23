"""How much memory a target's weights need, and how much there is."""

from __future__ import annotations

import json
import math
from pathlib import Path

from precompute.targets.loading import Placement, Source

Tensors = dict[str, tuple[str, int]]
"""By name: the type they are stored as, and the count of their numbers."""
BYTES_PER_NUMBER = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Of the types that weights are loaded as."""
STORED_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "I32": 4, "U32": 4, "I64": 8, "U64": 8, "F64": 8}
"""Of the types that safetensors files name; `RECAST` become what weights are loaded as, the others keep their size."""
RECAST = {"F64", "F32", "F16", "BF16"}
MEMORY = Path("/proc/meminfo")
"""Where Linux says how much memory there is."""
CONTAINER = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat", "inactive_file"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
        "total_inactive_file",
    ),
)
"""Where the kernel says what a container may use, in either version: limit, use, and what of it is a mere cache."""


def weight_bytes(source: Source, dtype: str, part: str = "") -> int | None:
    """Memory that weights take once loaded.

    Parameters
    ----------
    source : Source
    dtype : str
        They are loaded as.
    part : str
        Beginning of the names of the weights that are loaded; where no name begins so, all are.

    Returns
    -------
    int or None
        From the headers of the safetensors files, without reading a weight; None where there are none.
    """
    tensors = _folder_tensors(Path(source.location)) if source.local else _hub_tensors(source)
    loaded = [tensor for name, tensor in tensors.items() if name.startswith(part)] or list(tensors.values())
    size = {kind: BYTES_PER_NUMBER[dtype] if kind in RECAST else STORED_BYTES.get(kind, 1) for kind, _ in loaded}
    return sum(size[kind] * count for kind, count in loaded) if loaded else None


def header(path: Path) -> Tensors:
    """Read the header of a safetensors file.

    A damaged file counts as empty: it is left to the loader, which says what is wrong with it.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to tuple of (str, int)
        Stored type, by safetensors' name of it, and count of numbers of every tensor.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            return {}
        try:
            entries = json.loads(file.read(length))
        except ValueError:
            return {}
    entries.pop("__metadata__", None)
    return {name: (tensor["dtype"], math.prod(tensor["shape"])) for name, tensor in entries.items()}


def _folder_tensors(folder: Path) -> Tensors:
    """Read of a folder what transformers would load: some hold the same weights twice, under another file name."""
    index = folder / "model.safetensors.index.json"
    files = {folder / "model.safetensors"}
    if index.is_file() and not any(path.is_file() for path in files):
        files = {folder / name for name in json.loads(index.read_text()).get("weight_map", {}).values()}
    return {name: tensor for path in files if path.is_file() for name, tensor in header(path).items()}


def _hub_tensors(source: Source) -> Tensors:
    from huggingface_hub import get_safetensors_metadata
    from huggingface_hub.errors import HTTPError, NotASafetensorsRepoError, SafetensorsParsingError

    try:
        metadata = get_safetensors_metadata(source.location, revision=source.revision)
    except (NotASafetensorsRepoError, SafetensorsParsingError, HTTPError, OSError):
        return {}  # then loading the weights, from the cache perhaps, says what is wrong
    files = metadata.files_metadata.values()
    return {name: (one.dtype, one.parameter_count) for file in files for name, one in file.tensors.items()}


def free_bytes(placement: Placement) -> dict[str, int]:
    """Memory free for weights, by where it is.

    Parameters
    ----------
    placement : Placement

    Returns
    -------
    dict of str to int
        Each place has to hold all the weights: a device and the main memory they pass through on their way to it, or,
        with a device map, everything together. Places whose memory is not known are left out.
    """
    import torch

    main = main_memory()
    if placement.device_map is not None:
        cards = sum(torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count()))
        return {} if main is None else {"on this machine": cards + main}
    places = {} if main is None else {"in the main memory": main}
    if torch.device(placement.device).type == "cuda":
        places[f"on {placement.device}"] = torch.cuda.mem_get_info(torch.device(placement.device))[0]
    return places


def main_memory() -> int | None:
    """Read how much main memory this process can still take: by the kernel's estimate, and within its container.

    Returns
    -------
    int or None
        None where the system does not say (it is no Linux).
    """
    if not MEMORY.is_file():
        return None
    free = [_entry(MEMORY, "MemAvailable:") * 1024]
    for limit, used, details, cache in CONTAINER:
        if all(Path(path).is_file() for path in (limit, used, details)):
            allowed = Path(limit).read_text().strip()
            if allowed.isdecimal():  # else "max"
                free.append(int(allowed) - int(Path(used).read_text()) + _entry(Path(details), cache))
    return max(0, min(free))


def _entry(table: Path, name: str) -> int:
    """Find a number in a table of the kernel's, whose lines begin with a name."""
    lines = (line.split() for line in table.read_text().splitlines())
    return next(int(words[1]) for words in lines if words[:1] == [name])
