"""SeamlessM4T v2, from speech to text."""

from pathlib import Path

from tests.tiny_families import seamless_m4t
from tests.tiny_families.seamless_m4t import OTHER_PROMPT, plain_ids, plain_inputs, plain_logits

__all__ = ["OTHER_PROMPT", "build", "plain_ids", "plain_inputs", "plain_logits"]


def build(path: Path) -> Path:
    """Save it; see `seamless_m4t.build`."""
    return seamless_m4t.build(path, "v2", seed=8)
