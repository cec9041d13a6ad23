"""The thinker of Qwen2.5-Omni saved without the rest, as models trained further from it are."""

from pathlib import Path

from tests.tiny_families.parts import save
from tests.tiny_families.qwen2_5_omni import model_and_processor


def build(path: Path) -> Path:
    """Save it."""
    model, processor = model_and_processor()
    return save(model.thinker, processor, path)
