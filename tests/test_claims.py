"""A claim of phase 3 needs a grid that could have shown the opposite; without one it is refused."""

from dataclasses import replace

import pytest

from precompute import claims as module
from precompute.claims import (
    BOUND,
    CANNOT_READ,
    EXPLANATIONS,
    LENGTH,
    NOT_READ,
    NOTHING,
    OPEN,
    TEXT_KNOWN,
    Cell,
    Claim,
    claims,
)
from precompute.statistics.contrasts import Interaction
from precompute.statistics.intervals import Estimate

NAN = float("nan")


def cell(value: float, half: float = 0.03, drop: tuple[float, float, float] | None = None) -> Cell:
    return Cell(Estimate(value, value - half, value + half, NAN, NAN, NAN, 0, 0), drop)


def lost(value: float, half: float = 0.05) -> tuple[float, float, float]:
    return (value, value - half, value + half)


def moved(difference: float = 0.8, half: float = 0.3) -> Interaction:
    return Interaction(difference, difference - half, difference + half, half / 2, 0.0, 1.0, 0.2, 500, 500, 1000)


READ = {"original": True, "resynthesis": True, "silence": True}
BOUND_GRID = {
    ("generated", "original"): cell(0.90),
    ("reference", "original"): cell(0.95),
    ("reference", "resynthesis"): cell(0.51, drop=lost(0.44)),
    ("generated", "silence"): cell(0.50, drop=lost(0.40)),
}
LENGTH_GRID = {**BOUND_GRID, ("generated", "silence"): cell(0.80, drop=lost(0.10))}
KNOWN_GRID = {**BOUND_GRID, ("reference", "resynthesis"): cell(0.80, drop=lost(0.15))}


def said(
    grid: dict = BOUND_GRID,
    bar: float = 0.55,
    readable: dict = READ,
    change: Interaction | None = None,
    gap: tuple[float, float, float] | None = (0.0, -0.05, 0.05),
    shifted: bool = False,
) -> list[str]:
    return [claim.claim for claim in full(grid, bar, readable, change, gap, shifted)]


def full(grid=BOUND_GRID, bar=0.55, readable=READ, change=None, gap=(0.0, -0.05, 0.05), shifted=False) -> list[Claim]:
    return claims(grid, bar, readable, change or moved(), gap, shifted)


def test_a_reference_row_that_falls_in_a_voice_the_target_reads_is_bound_to_the_voice():
    (claim,) = full()
    assert claim.claim == BOUND
    assert "0.95 [0.92, 0.98] under the original, 0.51 [0.48, 0.54] in another voice" in claim.sentence
    assert "members lose 0.80 [0.50, 1.10] nats per token more" in claim.sentence


def test_an_upper_bound_of_0_56_has_not_collapsed():
    grid = {**BOUND_GRID, ("reference", "resynthesis"): cell(0.52, 0.04, lost(0.43))}
    assert said(grid) == [OPEN]
    assert said({**grid, ("reference", "resynthesis"): cell(0.52, 0.0299, lost(0.43))}) == [BOUND]


@pytest.mark.parametrize("change", [moved(0.2, 0.3), moved(-0.8), replace(moved(), low=NAN)])
def test_members_who_lose_no_more_than_others_are_not_bound(change):
    assert said(change=change) == [OPEN]


def test_without_a_loss_to_compare_nothing_is_bound():
    assert [c.claim for c in claims(BOUND_GRID, 0.55, READ, None, None)] == [OPEN]


def test_a_drop_whose_interval_holds_0_is_no_collapse():
    grid = {**BOUND_GRID, ("reference", "resynthesis"): cell(0.51, drop=(0.44, -0.01, 0.9))}
    assert said(grid) == [OPEN]


@pytest.mark.parametrize("condition", ["original", "resynthesis"])
def test_a_voice_the_target_cannot_read_bars_binding_and_is_said(condition):
    found = full(readable={**READ, condition: False})
    assert [claim.claim for claim in found] == [OPEN, CANNOT_READ]
    heard = "the original" if condition == "original" else "another voice"
    assert f"cannot read {heard}" in found[1].sentence


def test_an_unknown_word_error_does_not_bar():
    assert said(readable=dict.fromkeys(READ)) == [BOUND]


def test_a_transcript_still_likelier_for_members_in_another_voice_is_a_known_text():
    (claim,) = full(KNOWN_GRID)
    assert claim.claim == TEXT_KNOWN and "the voice adds 0.15 [0.10, 0.20]" in claim.sentence
    same = {**KNOWN_GRID, ("reference", "resynthesis"): cell(0.94, drop=lost(0.01))}
    (claim,) = full(same)
    assert claim.claim == TEXT_KNOWN and "adds" not in claim.sentence


def test_a_known_text_needs_no_reading():
    assert said(KNOWN_GRID, readable={**READ, "resynthesis": False}) == [TEXT_KNOWN, CANNOT_READ]


def test_a_reference_row_whose_interval_holds_one_half_is_not_known():
    grid = {**BOUND_GRID, ("reference", "resynthesis"): cell(0.52, drop=lost(0.43))}
    assert TEXT_KNOWN not in said(grid)


def test_what_silence_of_ones_own_length_keeps_and_silence_of_one_length_loses_is_length():
    found = full(LENGTH_GRID, gap=(0.3, 0.2, 0.4))
    assert [claim.claim for claim in found] == [LENGTH]
    assert "keeps part of it" in found[0].sentence and "a difference of 0.30 [0.20, 0.40]" in found[0].sentence


def test_silence_that_takes_nothing_away_keeps_all_of_it():
    grid = {**LENGTH_GRID, ("generated", "silence"): cell(0.89, drop=lost(0.01))}
    assert "keeps all of it" in full(grid, gap=(0.3, 0.2, 0.4))[0].sentence


def test_length_bars_binding_for_another_voice_takes_another_time():
    assert said(LENGTH_GRID, gap=(0.3, 0.2, 0.4)) == [LENGTH]
    assert said({**LENGTH_GRID, **{("reference", "resynthesis"): cell(0.8)}}, gap=(0.3, 0.2, 0.4)) == [
        LENGTH,
        TEXT_KNOWN,
    ]


@pytest.mark.parametrize("gap", [(0.05, -0.01, 0.11), (-0.3, -0.4, -0.2), None])
def test_without_a_gap_between_the_silences_length_is_not_the_key(gap):
    assert LENGTH not in [c.claim for c in claims(LENGTH_GRID, 0.55, READ, None, gap)]


def test_silence_at_chance_is_not_length():
    grid = {**LENGTH_GRID, ("generated", "silence"): cell(0.52, drop=lost(0.38))}
    assert LENGTH not in said(grid, gap=(0.3, 0.2, 0.4))


@pytest.mark.parametrize(("value", "bar"), [(0.52, 0.5), (0.60, 0.58), (0.60, 0.57)])
def test_where_nothing_stands_above_chance_and_the_blind_side_there_is_nothing_to_collapse(value, bar):
    grid = {**KNOWN_GRID, ("generated", "original"): cell(value), ("reference", "original"): cell(value)}
    (claim,) = full(grid, bar=bar, gap=(0.3, 0.2, 0.4))
    assert claim.claim == NOTHING and f"where the blind side reaches {bar:.2f}" in claim.sentence


def test_a_bar_below_one_half_counts_as_one_half():
    grid = {("generated", "original"): cell(0.52)}
    assert said(grid, bar=0.3) == [NOTHING] and "reaches 0.50" in full(grid, bar=0.3)[0].sentence


def test_only_the_row_that_stands_is_read():
    grid = {**KNOWN_GRID, ("reference", "original"): cell(0.52)}
    assert said(grid) == [OPEN]  # another voice cannot show more than the original did
    grid = {**LENGTH_GRID, ("generated", "original"): cell(0.52)}
    assert said(grid, gap=(0.3, 0.2, 0.4)) == [BOUND]


def test_without_a_transcript_or_another_voice_nothing_is_said_of_voices():
    assert said({("generated", "original"): cell(0.9)}) == [OPEN]
    assert said({key: value for key, value in BOUND_GRID.items() if key[1] != "resynthesis"}) == [OPEN]


def test_lists_that_differ_are_not_read_at_all():
    for grid in (BOUND_GRID, KNOWN_GRID, LENGTH_GRID):
        assert said(grid, shifted=True, gap=(0.3, 0.2, 0.4)) == [NOT_READ]


def test_an_empty_grid_has_nothing_to_collapse():
    assert said({}) == [NOTHING]


def test_every_claim_is_explained():
    words = {value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)}
    assert set(EXPLANATIONS) == words and all(text.endswith(".") for text in EXPLANATIONS.values())
