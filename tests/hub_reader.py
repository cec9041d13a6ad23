"""A process that draws cohorts from a replica of the hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from precompute.clips import Clip, Cohort, InputError

ROOT = Path(__file__).resolve().parents[1]

DRIVER = """
import json, os, sys
from precompute.clips import InputError
from precompute.corpora.hub import find

for line in sys.stdin:
    job = json.loads(line)
    os.environ.update(job["environment"])
    try:
        (cohort,) = find(job["name"], job["seed"], job["per_class"])
        clips = [[c.clip_id, str(c.path), c.text, c.group, c.language, c.task] for c in cohort.clips]
        answer = {"clips": clips, "labels": cohort.labels, "licence": cohort.licence, "title": cohort.title}
        answer["description"] = cohort.description
    except InputError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
"""
"""Draws in a process of its own: where the hub is has to be known before its library is imported."""


@dataclass
class Reader:
    """A process that draws cohorts, one after the other."""

    endpoint: str
    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Reader:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HF_", "AUDIT_"))},
            **{"HF_ENDPOINT": self.endpoint, "HF_HOME": str(self.home / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"},
            **{"HF_UPDATE_DOWNLOAD_COUNTS": "0", "USE_TORCH": "0"},
            **self.environment,
        }
        command = [sys.executable, "-c", DRIVER]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def begin(self, name: str, seed: int = 0, per_class: int | None = 4, **environment: str) -> None:
        """Ask for a cohort without waiting for it."""
        environment = {"AUDIT_DATA": str(self.home / "data"), **environment}
        job = {"name": name, "seed": seed, "per_class": per_class, "environment": environment}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()

    def find(self, name: str, seed: int = 0, per_class: int | None = 4, **environment: str) -> Cohort:
        """Ask for a cohort; what it raises is raised here."""
        self.begin(name, seed, per_class, **environment)
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise InputError(answer["error"])
        clips = tuple(
            Clip(one, Path(path), text, group, language=language, task=task)
            for one, path, text, group, language, task in answer["clips"]
        )
        return Cohort(
            name, clips, tuple(answer["labels"]), answer["title"], answer["description"], licence=answer["licence"]
        )
