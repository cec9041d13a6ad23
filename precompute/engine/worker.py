"""A worker of the ray engine: it loads the target once and does group after group."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

import precompute
from precompute.clips import InputError
from precompute.engine.wire import pack_stats, unpack_works
from precompute.targets import EMBEDDED, load_target, split_revision, target_folder
from precompute.work import BatchSize, Work, execute

if TYPE_CHECKING:
    from precompute.targets.base import Target

TRIES = 3
"""How often a group is begun, and the target loaded in a row, before what ends workers is taken to be the cause."""


SCORING = ("clips.py", "indicators.py", "scoring.py", "work.py", "engine/*.py", "targets/*.py")
"""Files of this package that determine what a worker answers."""


@dataclass(frozen=True)
class WorkerTarget:
    """How a worker loads the target, and which target that has to turn out to be.

    Parameters
    ----------
    name : str
        Embedded name, folder or hub id, as given to `precompute.targets.load_target`.
    revision, dtype : str
        Of the target as the asking machine knows it: they are in the keys of its cache.
    device : str
    attention, device_map : str or None
        See `precompute.targets.load_target`.
    protocol : str
        ``single-pass`` or ``two-pass``.
    batch_size : int or None
        Clips read together; None follows the memory of the worker's device.
    """

    name: str
    revision: str
    dtype: str
    device: str = "auto"
    attention: str | None = None
    device_map: str | None = None
    protocol: str = "single-pass"
    batch_size: int | None = None

    def located(self) -> WorkerTarget:
        """Name a folder by its absolute path, since workers run elsewhere."""
        folder = None if self.name in EMBEDDED else target_folder(self.name)
        return self if folder is None else replace(self, name=str(folder.resolve()))

    def load(self) -> Target:
        """Load the target.

        Raises
        ------
        InputError
            If it cannot be loaded here, or is not the one asked for.
        """
        name, _ = split_revision(self.name)
        pinned = None if target_folder(name) is not None else self.revision
        target = load_target(name, self.device, self.dtype, pinned, self.attention, self.device_map)
        if (target.revision, target.dtype) != (self.revision, self.dtype):
            raise InputError(
                f"{self.name}: {target.revision} in {target.dtype} lies on {platform.node()}, {self.revision} in "
                f"{self.dtype} is asked for; every machine needs the same files"
            )
        if self.protocol == "two-pass":
            from precompute.scoring import TwoPass

            return TwoPass(target)
        return target


class Worker:
    """Holds the target, and does groups of works. Built and called by Ray Data.

    Parameters
    ----------
    asked : WorkerTarget
    feed : actor handle of `precompute.engine.feed.Feed`
    version : str
        `code_version` of the asking machine.
    workers : int
        How many there are.
    """

    def __init__(self, asked: WorkerTarget, feed: Any, version: str, workers: int) -> None:
        import ray

        self._feed = feed
        self._target: Target | None = None
        self._problem: str | None = None
        if ray.get(feed.load.remote()) > TRIES * workers:
            self._problem = f"{asked.name}: workers end while they load it, for want of memory as a rule"
            return
        try:
            check_version(version)
            self._target = asked.load()
            self._size = BatchSize.of(asked.batch_size, self._target)
        except InputError as error:
            self._problem = str(error)
        ray.get(feed.loaded.remote())

    def __call__(self, row: pa.Table) -> pa.Table:
        """Do the group of one row.

        Parameters
        ----------
        row : pa.Table
            As `precompute.engine.feed.read` yields it.

        Returns
        -------
        pa.Table
            One row: ``number`` of the group, ``problem`` or null, and ``stats`` by key.
        """
        import ray

        number = row["number"][0].as_py()
        works = unpack_works(group) if (group := row["group"][0].as_py()) else []
        problem, stats = self._problem, b""
        if problem is None and works and ray.get(self._feed.begin.remote(number)) > TRIES:
            problem = describe_fatal(works)
        if problem is None:
            try:
                stats = pack_stats(self._do(works))
            except InputError as error:
                problem = str(error)
        return pa.table(
            {
                "number": pa.array([number], pa.int64()),
                "problem": pa.array([problem], pa.string()),
                "stats": pa.array([stats], pa.large_binary()),
            }
        )

    def _do(self, works: Sequence[Work]) -> dict[str, Any]:
        assert self._target is not None
        return {key: stats for done in execute(self._target, works, self._size) for key, stats in done.items()}


def describe_fatal(works: Sequence[Work]) -> str:
    """Say of which works workers die."""
    seconds = max((len(work.audio) for work in works), default=0) / 16_000
    return (
        f"{TRIES} workers ended, one after the other, while they scored the same {len(works)} texts under audio of up "
        f"to {seconds:.1f} s, for want of memory as a rule; what was scored is kept; a smaller --batch-size may help"
    )


def code_version() -> str:
    """Name the code that determines what a worker answers: `SCORING` and the libraries that run the target.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    root = Path(precompute.__file__).parent
    for path in sorted(path for pattern in SCORING for path in root.glob(pattern)):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    for package in ("torch", "transformers", "numpy"):
        digest.update(f"{package} {importlib.metadata.version(package)}".encode())
    return digest.hexdigest()[:16]


def check_version(asked: str) -> None:
    """Refuse to score with other code than the asking machine has; `InputError` names this machine."""
    if code_version() != asked:
        raise InputError(
            f"{platform.node()}: another version of precompute, torch, transformers or numpy than on the machine that "
            "asks; every machine needs the same checkout and the same requirements"
        )
