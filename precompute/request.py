"""What an audit is asked to do: the request, the cohorts it names, and whether its bundle is there already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from precompute import blind, results
from precompute.bundle import read_bundle
from precompute.clips import Clip, Cohort, InputError
from precompute.corpora import find_cohorts, limited
from precompute.scores import PROTOCOL_VERSION, Plan
from precompute.targets import load_target, open_target, target_folder
from precompute.units import design

if TYPE_CHECKING:
    from precompute.targets.base import Target

MIN_PER_CLASS = 20
VERSIONS = (PROTOCOL_VERSION, blind.VERSION, results.VERSION)
"""A bundle made under other versions is not finished: the same request gives other numbers now."""


@dataclass(frozen=True)
class Request:
    """Everything an audit is asked to do; equal requests on equal clips give equal bundles.

    Parameters
    ----------
    datasets, targets : tuple of str
        Names, paths or hub ids, as on the command line.
    out, cache : Path
        Bundle folder to write, and folder of the per-clip cache.
    plan : Plan
    limit : int or None
        Clips per class and cohort, drawn from the seed; None takes all.
    per_class : mapping of str to int
        By dataset name, clips per class to draw from a corpus larger than what is wanted.
    reference : str or None
        An unexposed target; every other target's scores are also read less its score of the same clip.
    scores : Path or None
        Table of scores made elsewhere, audited like a target.
    seed : int
    device, dtype : str
    attention, device_map : str or None
        See `precompute.targets.load_target`.
    asr_target : str or None
        A target that reads resyntheses, to say whether they can be understood.
    columns : mapping of str to str
        What lists call our columns.
    engine : str
        ``local``, or ``ray`` with its `workers` (None: as many as there are GPUs or cores) at `ray_address` (None: a
        cluster of its own on this machine).
    """

    datasets: tuple[str, ...]
    targets: tuple[str, ...]
    out: Path
    cache: Path
    plan: Plan
    limit: int | None = None
    per_class: Mapping[str, int] = field(default_factory=dict)
    reference: str | None = None
    scores: Path | None = None
    seed: int = 0
    device: str = "auto"
    dtype: str = "auto"
    attention: str | None = None
    device_map: str | None = None
    asr_target: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    engine: str = "local"
    workers: int | None = None
    ray_address: str | None = None

    @property
    def names(self) -> list[str]:
        """Every target to load for scoring, the reference last where it was not named as a target itself."""
        return list(dict.fromkeys([*self.targets, *([self.reference] if self.reference else [])]))

    def load(self, name: str) -> Target:
        """Load a target as asked for."""
        return load_target(name, self.device, self.dtype, attention=self.attention, device_map=self.device_map)

    def take(self, name: str) -> Target:
        """Get a target to score with: loaded here, or without its weights where workers hold them."""
        if self.engine == "local" or name.startswith("api:"):
            return self.load(name)
        from precompute.engine.cluster import dtype_of_workers

        return open_target(name, dtype_of_workers(self.dtype, self.device, self.ray_address))


def cohorts_of(request: Request) -> list[Cohort]:
    """Draw every cohort that an audit is asked for, each class limited as asked."""
    drawn = {name: request.limit or request.per_class.get(name) for name in request.datasets}
    found = [
        cohort for name, most in drawn.items() for cohort in find_cohorts(name, request.seed, most, request.columns)
    ]
    return [limited(cohort, request.limit, request.seed) for cohort in found]


def check_cohorts(cohorts: Sequence[Cohort]) -> None:
    """Refuse cohorts that share a name or have under `MIN_PER_CLASS` clips in a class."""
    names = [cohort.name for cohort in cohorts]
    if len(set(names)) != len(names):
        raise InputError("two datasets have one name; give each list its own `dataset` column or file name")
    for cohort in cohorts:
        for label, word in ((1, "members"), (0, "non-members")):
            count = int((cohort.label_array == label).sum())
            if count < MIN_PER_CLASS:
                raise InputError(f"{cohort.name}: {count} {word}, at least {MIN_PER_CLASS} are needed")
        made = design(cohort.label_array, [clip.group for clip in cohort.clips])
        if made.nested and min(made.groups_member or 0, made.groups_non_member or 0) < 2:
            raise InputError(
                f"{cohort.name}: all clips of a class have one group (speaker or source), so that a class cannot be "
                "told from a voice; at least 2 groups of each class are needed, and 6 for a verdict"
            )


def unique_clips(cohorts: Iterable[Cohort]) -> list[Clip]:
    """Clips of all cohorts, each once; cohorts may share clips.

    Raises
    ------
    InputError
        If one clip_id stands for two different recordings.
    """
    found: dict[str, Clip] = {}
    for cohort in cohorts:
        for clip in cohort.clips:
            if found.setdefault(clip.clip_id, clip) != clip:
                raise InputError(f"{clip.clip_id}: this clip_id stands for two different recordings")
    return list(found.values())


def fingerprint_of(request: Request, cohorts: Sequence[Cohort]) -> str:
    """Hash of everything the bundle depends on: the request, the clips' files, the targets' revisions."""
    digest = hashlib.sha256(json.dumps([*VERSIONS, asdict(request)], default=str, sort_keys=True).encode())
    for cohort in cohorts:
        for clip, label in zip(cohort.clips, cohort.labels, strict=True):
            try:
                state = clip.path.stat()
            except OSError as error:
                raise InputError(f"{clip.path}: no such file ({clip.clip_id})") from error
            digest.update(repr((cohort.name, clip, label, state.st_size, state.st_mtime_ns)).encode())
    if request.scores is not None and request.scores.is_file():
        digest.update(request.scores.read_bytes())
    for name in request.names:
        folder = target_folder(name)
        files = sorted(folder.iterdir()) if folder and folder.is_dir() else []
        digest.update(repr([(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]).encode())
    return digest.hexdigest()


def is_finished(out: Path, fingerprint: str) -> bool:
    """Whether `out` holds a whole bundle of this very request; a bundle of another request is left for overwriting."""
    if not (out / "audit.json").is_file():
        return False
    try:
        return read_bundle(out).audit.get("fingerprint") == fingerprint
    except InputError:  # a half-written bundle is no finished one
        return False
