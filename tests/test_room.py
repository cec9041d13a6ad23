"""A cache that grows in place holds what one that copies holds."""

import copy

import pytest
import torch
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from precompute.targets.room import RoomyLayer, make_room

SHAPE = (3, 2, 4)


def states(length, seed):
    torch.manual_seed(seed)
    return torch.randn(SHAPE[0], SHAPE[1], length, SHAPE[2])


def grown(layer, lengths, seed=0):
    for step, length in enumerate(lengths):
        layer.update(states(length, seed + 2 * step), states(length, seed + 2 * step + 1))
    return layer


def same(one, other):
    return torch.equal(one.keys, other.keys) and torch.equal(one.values, other.values)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
@pytest.mark.parametrize("lengths", [(5,), (5, 1, 1, 1), (1, 50, 1, 200, 1)])
def test_it_holds_what_was_put_in_in_that_order(mode, lengths):
    with mode():
        assert same(grown(RoomyLayer(), lengths), grown(DynamicLayer(), lengths))


def test_a_token_is_put_into_place_and_the_rest_stays_where_it_is():
    layer = grown(RoomyLayer(), (5, 1))
    places = {grown(layer, (1,)).keys.data_ptr() for _ in range(10)}
    assert len(places) == 1 and layer.get_seq_length() == 16


def test_rows_that_are_selected_take_their_own_keys_along():
    rows = torch.tensor([2, 0])
    layer, plain = grown(RoomyLayer(), (5, 1, 1)), grown(DynamicLayer(), (5, 1, 1))
    for one in (layer, plain):
        one.batch_select_indices(rows)
        one.update(states(1, 9)[rows], states(1, 8)[rows])
    assert same(layer, plain)


def test_a_copy_and_its_original_grow_apart():
    layer = grown(RoomyLayer(), (5, 1))
    other = copy.deepcopy(layer)
    grown(other, (1, 1), seed=50)
    assert same(layer, grown(DynamicLayer(), (5, 1)))
    assert same(grown(layer, (1,), seed=70), grown(grown(DynamicLayer(), (5, 1)), (1,), seed=70))


def test_only_layers_that_keep_all_positions_are_replaced():
    cache = DynamicCache()
    cache.layers = [grown(DynamicLayer(), (5,)), grown(DynamicSlidingWindowLayer(sliding_window=4), (5,))]
    kept = cache.layers[0].keys
    make_room(cache)
    assert [type(layer) for layer in cache.layers] == [RoomyLayer, DynamicSlidingWindowLayer]
    assert torch.equal(cache.layers[0].keys, kept)
    assert same(grown(cache.layers[0], (1,), seed=3), grown(grown(DynamicLayer(), (5,)), (1,), seed=3))
