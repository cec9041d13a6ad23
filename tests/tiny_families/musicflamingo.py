"""Music Flamingo in the embedded targets' size, untrained."""

from pathlib import Path

from tests.tiny_families import audioflamingo3


def build(path: Path) -> Path:
    """Save it; see `audioflamingo3.build`."""
    return audioflamingo3.build(path, "musicflamingo")
