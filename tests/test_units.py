"""Clips that depend on each other share a unit, and the design says how labels came about."""

import numpy as np
import pandas as pd
import pytest

from precompute.units import ENOUGH_GROUPS, FEWEST_GROUPS, design, table_design


def labels_of(n: int) -> np.ndarray:
    return np.arange(n) % 2


def same(units: np.ndarray, *rows: int) -> bool:
    return len({int(units[row]) for row in rows}) == 1


def nested(members: int, others: int, size: int = 5) -> tuple[np.ndarray, list[str]]:
    """Labels and groups where each speaker is all member or all non-member."""
    labels = np.repeat([1, 0], [members * size, others * size])
    return labels, [f"speaker {i // size}" for i in range(len(labels))]


def test_without_groups_every_clip_is_its_own_unit():
    found = design(labels_of(50), [None] * 50)
    np.testing.assert_array_equal(found.units, np.arange(50))
    assert not found.nested and found.enough_groups and found.n_groups == found.copies == 0
    assert found.groups_member is None and "No groups are given; 50 clips" in found.sentence


@pytest.mark.parametrize("missing", [None, float("nan"), ""])
def test_a_missing_group_is_no_group(missing):
    found = design(labels_of(60), [missing] * 60)
    assert len(np.unique(found.units)) == 60 and found.n_groups == 0


@pytest.mark.parametrize(("smaller", "enough"), [(FEWEST_GROUPS - 1, False), (FEWEST_GROUPS, True)])
def test_labels_given_to_whole_groups_are_nested_and_six_a_class_are_enough(smaller, enough):
    labels, groups = nested(smaller, 9)
    found = design(labels, groups)
    assert found.nested and found.enough_groups is enough
    assert (found.groups_member, found.groups_non_member, found.n_groups) == (smaller, 9, smaller + 9)
    assert len(np.unique(found.units)) == smaller + 9
    assert f"{smaller} member, 9 non-member" in found.sentence


def test_a_few_stray_labels_do_not_hide_that_labels_go_with_groups():
    labels, groups = nested(10, 10)
    labels[0] = 0  # one of twenty speakers holds both classes: 95 of 100 clips lie in pure groups
    assert design(labels, groups).nested
    labels[np.arange(5) * 5] = 0  # five of them: 75 of 100
    assert not design(labels, groups).nested


def test_few_groups_of_both_classes_leave_clips_as_units_and_many_become_units():
    labels = labels_of(200)
    few = design(labels, [f"g{i // 2 % (ENOUGH_GROUPS - 1)}" for i in range(200)])
    assert not few.nested and len(np.unique(few.units)) == 200 and "holds for these groups" in few.sentence
    many = design(labels, [f"g{i // 2 % ENOUGH_GROUPS}" for i in range(200)])
    assert not many.nested and len(np.unique(many.units)) == ENOUGH_GROUPS
    assert few.enough_groups and many.enough_groups


def test_clips_without_a_group_stay_alone_beside_clips_that_have_one():
    labels, groups = nested(8, 8)
    found = design(np.r_[labels, 1, 0], [*groups, None, float("nan")])
    assert len(np.unique(found.units)) == 18 and found.units[-1] != found.units[-2]


def test_copies_share_a_unit_across_columns_of_keys():
    sounds: list = [None] * 60
    wordings: list = [f"sentence {i}" for i in range(60)]
    sounds[0] = sounds[5] = "same sound"
    wordings[5] = wordings[8] = "same words"
    found = design(labels_of(60), [None] * 60, [sounds, wordings])
    assert same(found.units, 0, 5, 8) and len(np.unique(found.units)) == 58


def test_copies_join_the_groups_they_are_in():
    labels = labels_of(300)
    groups = [f"g{i // 2 % 50}" for i in range(300)]
    keys: list = [None] * 300
    keys[0] = keys[2] = "copy"
    found = design(labels, groups, [keys])
    assert len(np.unique(found.units)) == 49
    assert same(found.units, *(i for i in range(300) if groups[i] in ("g0", "g1")))


def test_a_wording_shared_by_nearly_all_clips_does_not_make_one_unit_of_them():
    """Keyword data: thirty words spoken by many would leave too few units for any resampling."""
    labels = labels_of(400)
    found = design(labels, [None] * 400, [[f"word {i // 2 % 15}" for i in range(400)]])
    assert len(np.unique(found.units)) == 400 and found.copies == 0
    found = design(labels, [None] * 400, [[f"word {i // 2 % 30}" for i in range(400)]])
    assert len(np.unique(found.units)) == 30 and found.copies == 400


def test_a_table_is_read_by_its_wording_folded_and_its_sound():
    table = pd.DataFrame({"label": labels_of(80), "text": [f"sentence {i}" for i in range(80)]})
    table["audio_hash"] = [f"hash {i}" for i in range(80)]
    table["group"] = None
    table.loc[[0, 1], "text"] = ["Press 1, please!", "press 1 PLEASE"]
    table.loc[[2, 3], "text"] = ["...", "?!"]  # nothing said is no wording to share
    table.loc[[4, 7], "audio_hash"] = "same"
    units = table_design(table).units
    assert same(units, 0, 1) and same(units, 4, 7) and not same(units, 2, 3)
    assert len(np.unique(units)) == 78


def test_a_table_without_the_optional_columns_is_taken_clip_by_clip():
    assert len(np.unique(table_design(pd.DataFrame({"label": labels_of(40)})).units)) == 40


def test_units_are_the_same_sets_whatever_the_order_of_rows():
    labels = labels_of(120)
    groups = [f"g{i // 2 % 30}" for i in range(120)]
    order = np.random.default_rng(0).permutation(120)
    first = design(labels, groups).units
    second = design(labels[order], [groups[i] for i in order]).units
    np.testing.assert_array_equal(first[order][:, None] == first[order], second[:, None] == second)


def test_a_clip_copied_in_sound_and_wording_is_one_copy():
    keys: list = [f"k{i}" for i in range(100)]
    keys[2] = keys[0]
    assert design(labels_of(100), [None] * 100, [keys, list(keys)]).copies == 2


@pytest.mark.parametrize("groups", ["none", "nested"])
def test_two_copies_share_a_unit_however_few_units_there_are(groups):
    labels, named = nested(10, 10) if groups == "nested" else (labels_of(40), [None] * 40)
    keys: list = [f"k{i}" for i in range(len(labels))]
    twin = len(labels) - 2
    keys[twin] = keys[0]
    found = design(labels, named, [keys])
    assert same(found.units, 0, twin) and found.copies == 2


def test_a_handful_of_grouped_clips_does_not_take_the_verdict_from_the_rest():
    groups: list = [None] * 400
    groups[:8] = [f"g{i % 4}" for i in range(8)]  # two speakers a class, two clips each; 392 clips without a speaker
    assert design(labels_of(400), groups).enough_groups
