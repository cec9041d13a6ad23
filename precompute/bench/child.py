"""A measurement in a process of its own, for what a process can tell only of its whole life: its peak memory."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from precompute import heap

heap.share()  # as `precompute.__main__` does

from precompute.bench.machine import peak_memory_mb  # noqa: E402
from precompute.bench.timing import processor_seconds  # noqa: E402
from precompute.clips import InputError  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def in_child(function: str, **arguments: Any) -> dict[str, Any]:
    """Call a function of this project in a fresh process.

    Parameters
    ----------
    function : str
        ``module:name``.
    **arguments
        As JSON can carry them.

    Returns
    -------
    dict
        ``result`` as JSON carries it, ``wall_s`` and ``cpu_s`` of the call, ``peak_mb`` of the process.

    Raises
    ------
    InputError
        If the process fails; its last line of complaint is given.
    """
    done = subprocess.run(
        [sys.executable, "-m", "precompute.bench.child", function],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise InputError(f"{function} in a process of its own: {reason}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Do what `in_child` asks: the answer is the last line of the output."""
    module, _, name = sys.argv[1].partition(":")
    arguments = json.load(sys.stdin)
    function = getattr(importlib.import_module(module), name)
    wall, cpu = time.perf_counter(), processor_seconds()
    result = function(**arguments)
    spent = {"wall_s": time.perf_counter() - wall, "cpu_s": processor_seconds() - cpu, "peak_mb": peak_memory_mb()}
    print(json.dumps({"result": result, **spent}))


if __name__ == "__main__":
    main()
