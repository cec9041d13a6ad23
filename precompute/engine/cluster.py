"""Reaching or starting a Ray cluster, and what runs on it: nothing is reported home, no dashboard, no output."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING, Any

from precompute.clips import InputError
from precompute.targets import dtype_on

if TYPE_CHECKING:
    from precompute.engine.worker import WorkerTarget

CPUS_PER_WORKER = 1
LOCAL = "local"
"""The address of a cluster that is yet to be started, on this machine alone."""


def find_address(address: str | None) -> str:
    """Say which cluster is meant: where none is named, that of the environment variable ``RAY_ADDRESS``, or `LOCAL`."""
    return address or os.environ.get("RAY_ADDRESS") or LOCAL


def connect(address: str, workers: int | None) -> bool:
    """Connect this process to a cluster.

    Parameters
    ----------
    address : str
        ``local`` starts one on this machine; ``auto`` or ``host:port`` finds a running one.
    workers : int or None
        How many a cluster started here has to have room for; None is one per core.

    Returns
    -------
    bool
        Whether the connection is ours to end: not where this process had one before.

    Raises
    ------
    InputError
        If Ray is not installed, or there is no cluster at the address.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read by every process that Ray starts
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InputError("the ray engine needs Ray: `pip install -r requirements-ray.txt`") from error
    quiet()
    if ray.is_initialized():
        return False
    size: dict[str, Any] = {}
    if address == LOCAL:
        size = {"num_cpus": max(os.cpu_count() or 1, CPUS_PER_WORKER * (workers or 1)), "include_dashboard": False}
    try:
        if address not in (LOCAL, "auto"):
            knock(address)
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **size)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise InputError(f"no Ray cluster can be used at {address} ({reason})") from error
    return True


def knock(address: str) -> None:
    """See whether anything listens at ``host:port``: where nothing does, Ray tries for a quarter of an hour.

    Raises
    ------
    OSError
        If nothing does.
    ValueError
        If that is no ``host:port``.
    """
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise ValueError("neither auto nor host:port")
    socket.create_connection((host, int(port)), timeout=10).close()


def quiet() -> None:
    """Keep Ray Data's messages out of the terminal; they are in its log files."""
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)


def room(load: WorkerTarget, gpus: float | None, workers: int | None, ours: bool) -> tuple[float, int]:
    """Settle how many workers there are and how many GPUs each has.

    Parameters
    ----------
    load : WorkerTarget
    gpus : float or None
        None is one where the cluster has GPUs and `load` does not ask for the CPU, else none.
    workers : int or None
        None is as many as there is room for.
    ours : bool
        Whether the cluster was started here and cannot grow.

    Returns
    -------
    tuple of (float, int)
        GPUs of a worker, and workers.

    Raises
    ------
    InputError
        If there is no room, and none can come.
    """
    nodes = machines()
    if gpus is None:
        gpus = 1.0 if load.device != "cpu" and any(node.get("GPU") for node in nodes) else 0.0
    fits = sum(room_on(node, gpus) for node in nodes)
    wanted = fits if workers is None else workers
    if not wanted or (ours and wanted > fits):
        raise InputError(
            f"{len(nodes)} machine{'s' if len(nodes) > 1 else ''} with room for {fits} workers of {gpus:g} GPUs each; "
            + ("no worker can run" if not wanted else f"{wanted} are asked for")
        )
    return gpus, wanted


def machines() -> list[dict[str, float]]:
    """Resources of each machine of the cluster that this process is connected to."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def dtype_of_workers(dtype: str, device: str, address: str | None) -> str:
    """Settle the dtype that workers load a target in, which is in the keys of the cache and so is settled beforehand.

    Parameters
    ----------
    dtype : str
        Where it is ``auto``, the workers' devices decide as one's own would: see `precompute.targets.dtype_on`.
    device : str
        What workers are asked to use; ``auto`` is a GPU wherever the cluster has any.
    address : str or None
        See `find_address`. A running cluster is asked for GPUs; on `LOCAL` the workers' machine is this one.

    Returns
    -------
    str
        Name of a torch dtype.

    Raises
    ------
    InputError
        If there is no cluster at the address.
    """
    if dtype != "auto":
        return dtype
    if device != "auto":
        return dtype_on(device)
    place = find_address(address)
    if place == LOCAL:
        import torch

        return dtype_on("cuda" if torch.cuda.is_available() else "cpu")
    ours = connect(place, None)
    try:
        return dtype_on("cuda" if any(node.get("GPU") for node in machines()) else "cpu")
    finally:
        if ours:
            import ray

            ray.shutdown()


def room_on(node: dict[str, float], gpus: float) -> int:
    """Count the workers that a machine of these resources has room for."""
    by_cpus = node.get("CPU", 0.0) // CPUS_PER_WORKER
    return int(min(by_cpus, node.get("GPU", 0.0) // gpus) if gpus else by_cpus)


def pipeline(feed: Any, load: WorkerTarget, workers: int, gpus: float) -> Any:
    """Lay out the Ray Data pipeline from a feed's groups to their answers; nothing runs yet.

    Parameters
    ----------
    feed : actor handle of `precompute.engine.feed.Feed`
    load : WorkerTarget
    workers : int
    gpus : float
        Per worker.

    Returns
    -------
    ray.data.Dataset
        Rows as `precompute.engine.worker.Worker` returns them.
    """
    import ray.data
    from ray.data import ActorPoolStrategy, DataContext

    from precompute.engine.feed import Groups
    from precompute.engine.worker import Worker, code_version

    context = DataContext.get_current().copy()
    context.target_max_block_size = 1  # a group is a row, and a row is a block: none waits for others to fill a block
    context.execution_no_progress_timeout_s = -1  # a pause is the caller rendering audio
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.issue_detectors_config.detectors = []
    with DataContext.current(context):
        return ray.data.read_datasource(Groups(feed), num_cpus=0).map_batches(
            Worker,
            fn_constructor_args=(load, feed, code_version(), workers),
            compute=ActorPoolStrategy(size=workers),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=CPUS_PER_WORKER,
            num_gpus=gpus or None,
        )
