"""How much memory a target's weights need, and how much there is."""

from __future__ import annotations

import json
from pathlib import Path

from precompute.targets.base import Placement, Source

BYTES_PER_NUMBER = {"float32": 4, "bfloat16": 2, "float16": 2}


def weight_bytes(source: Source, dtype: str) -> int | None:
    """Memory that weights take once loaded.

    Parameters
    ----------
    source : Source
    dtype : str
        They are loaded as.

    Returns
    -------
    int or None
        From the headers of the safetensors files, without reading a weight; None where there are none.
    """
    if source.local:
        counts = [parameters(path) for path in sorted(Path(source.location).glob("*.safetensors"))]
    else:
        counts = _hub_parameters(source)
    return sum(counts) * BYTES_PER_NUMBER[dtype] if counts else None


def parameters(path: Path) -> int:
    """Count the numbers in a safetensors file by its header; 0 where that is no such header.

    A damaged file is left to the loader, which says what is wrong with it.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            return 0
        try:
            header = json.loads(file.read(length))
        except ValueError:
            return 0
    sizes = 0
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        count = 1
        for extent in tensor["shape"]:
            count *= extent
        sizes += count
    return sizes


def _hub_parameters(source: Source) -> list[int]:
    from huggingface_hub import get_safetensors_metadata
    from huggingface_hub.errors import HfHubHTTPError, NotASafetensorsRepoError

    try:
        metadata = get_safetensors_metadata(source.location, revision=source.revision)
    except (NotASafetensorsRepoError, HfHubHTTPError, OSError):  # then loading the weights says what is wrong
        return []
    return list(metadata.parameter_count.values())


def free_bytes(placement: Placement) -> int:
    """Memory free for weights: of the device, or of everything a device map may use."""
    import torch

    kind = torch.device(placement.device).type
    cards = [torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())]
    if placement.device_map is not None:
        return sum(cards) + main_memory()
    if kind == "cuda":
        return torch.cuda.mem_get_info(torch.device(placement.device))[0]
    return main_memory()


def main_memory() -> int:
    """Read how much main memory processes can still take, by the kernel's estimate."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the kernel names no available memory")
