"""Shared fixtures: one small real audit, made once per test run."""

from pathlib import Path

import pytest

from precompute.__main__ import main
from precompute.bundle import Bundle, read_bundle

SMALL_AUDIT = [
    "audit",
    *("--dataset", "core-clean", "--dataset", "core-unseen"),
    *("--target", "tiny-audio-flamingo", "--target", "tiny-audio-flamingo-b"),
    *("--reference-target", "tiny-audio-flamingo-b"),
    *("--conditions", "original,silence_fixed,resynthesis", "--limit", "40"),
]


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory) -> Path:
    """Bundle of 40 clips per class of two embedded cohorts against two trained targets, run by the command line."""
    folder = tmp_path_factory.mktemp("audit")
    assert main([*SMALL_AUDIT, "--out", str(folder / "bundle"), "--cache", str(folder / "cache")]) == 0
    return folder / "bundle"


@pytest.fixture(scope="session")
def bundle(bundle_path) -> Bundle:
    """The small audit's bundle, read back."""
    return read_bundle(bundle_path)
