"""The machine that figures were taken on, in words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

CPU = Path("/proc/cpuinfo")
MEMORY = Path("/proc/meminfo")
STATUS = Path("/proc/self/status")


def describe() -> dict[str, Any]:
    """Name the processor, the cores this process may use, the memory, torch's threads and the GPU.

    Returns
    -------
    dict
        ``cpu, cores, memory_gb, torch_threads, gpu``; ``gpu`` is None where there is none, and ``load`` is the number
        of processes that wanted a core over the last minute.
    """
    import torch

    return {
        "cpu": _entry(CPU, "model name") or "unknown",
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "memory_gb": _kilobytes(MEMORY, "MemTotal"),
        "torch_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def sentence(machine: dict[str, Any]) -> str:
    """Put a description into one line."""
    memory = "" if machine["memory_gb"] is None else f", {machine['memory_gb']:.0f} GB"
    return (
        f"{machine['cpu']}, {machine['cores']} cores{memory}, torch on {machine['torch_threads']} thread(s), "
        f"{machine['gpu'] or 'no GPU'}; load {machine['load']} when it began"
    )


def peak_memory_mb() -> float:
    """Give the largest memory that this process ever held resident, in MB of 10^6 bytes.

    Read from the kernel's own mark for this program; what `resource.getrusage` says of a child can be its parent's.
    """
    return (_kilobytes(STATUS, "VmHWM") or 0.0) * 1e3


def _kilobytes(table: Path, name: str) -> float | None:
    """Find an amount of memory, in GB of 10^9 bytes, in a table of the kernel's that counts in kB of 1,024 bytes."""
    entry = _entry(table, name)
    return None if entry is None else int(entry.split()[0]) * 1024 / 1e9


def _entry(table: Path, name: str) -> str | None:
    """Find what stands behind a name and a colon."""
    if not table.is_file():
        return None
    for line in table.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None
