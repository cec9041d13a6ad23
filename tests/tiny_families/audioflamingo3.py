"""Audio Flamingo 3 in the embedded targets' size, untrained."""

from pathlib import Path

from precompute.targets.embedded import Recipe, Shape
from precompute.targets.embedded import build as build_embedded
from tests.tiny_families.parts import SENTENCES, louder, save

SHAPE = Shape(layers=2, width_audio=64, width_text=64, inner_audio=128, inner_text=128)


def build(path: Path, family: str = "audioflamingo3") -> Path:
    """Save it, weights scaled up so that audio and history change what is written."""
    model, processor = build_embedded(Recipe("loud", family, "A", 1), SHAPE, SENTENCES)
    louder(model)
    return save(model, processor, path)
