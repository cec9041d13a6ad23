"""Every embedded target's recipe, whatever it is trained on."""

from __future__ import annotations

from precompute.targets import embedded, sounds
from precompute.targets.embedded import Recipe

RECIPES: dict[str, Recipe] = {**embedded.RECIPES, **sounds.RECIPES}
"""By the target's name."""
