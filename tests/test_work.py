"""Works in batches: every distinct audio read once, like lengths together, memory given way to."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import precompute.work as work_module
from precompute.clips import InputError
from precompute.indicators import STATISTICS, TokenStats
from precompute.work import (
    CAUTIOUS_ROWS,
    FIRST_ROWS,
    MOST_ROWS,
    SMALL_ROWS,
    BatchSize,
    Work,
    ahead,
    execute,
    execute_together,
    heard_once,
    next_batch,
    out_of_memory,
)


def stats(ids):
    numbers = np.zeros((len(ids), len(STATISTICS)), dtype=np.float32)
    return TokenStats.from_numbers(np.asarray(ids), numbers, tuple(map(str, ids)), "")


class Counting:
    """A target with room for so many clips at once, which writes the length of a clip."""

    id = "counting"

    def __init__(self, room=1000, error=None):
        self.room, self.error = room, error or torch.OutOfMemoryError("no room")
        self.read, self.scored, self.forgot, self.prepared = [], [], 0, []

    def generate(self, audios, prompt, max_new_tokens):
        if len(audios) > self.room:
            raise self.error
        self.read.append((prompt, [len(audio) for audio in audios]))
        return [stats([len(audio)]) for audio in audios]

    def score(self, audios, prompt, token_ids):
        self.scored.append([(len(audio), tuple(ids)) for audio, ids in zip(audios, token_ids, strict=True)])
        return [stats(ids) for ids in token_ids]

    def forget(self):
        self.forgot += 1

    def prepare(self, audios, prompt):
        self.prepared.append((len(self.read), [len(audio) for audio in audios]))


def sound(length):
    return np.full(length, 0.5, dtype=np.float32)


def write(length, prompt="p"):
    return Work(f"write-{prompt}-{length}", sound(length), prompt, 8)


def done(target, works, size=None):
    found = {}
    for part in execute(target, works, size):
        assert not found.keys() & part.keys()
        found |= part
    return found


def test_every_work_is_done_once_under_its_own_key():
    works = [write(length) for length in (3, 9, 5, 7, 1)] + [Work("known", sound(5), "p", 8, (4, 2))]
    found = done(Counting(), works, BatchSize(2, fixed=True))
    assert {key: one.ids.tolist() for key, one in found.items()} == {
        **{f"write-p-{length}": [length] for length in (3, 9, 5, 7, 1)},
        "known": [4, 2],
    }


def test_like_lengths_are_read_together_the_longest_first():
    target = Counting()
    done(target, [write(length) for length in (3, 9, 5, 7, 1)], BatchSize(2, fixed=True))
    assert target.read == [("p", [9, 7]), ("p", [5, 3]), ("p", [1])]


def test_one_audio_is_read_once_for_the_text_it_brings_and_all_texts_given_under_it():
    target = Counting()
    works = [write(4), Work("a", sound(4), "p", 8, (1,)), Work("b", sound(4), "p", 8, (2, 3)), write(2)]
    done(target, works)
    assert target.read == [("p", [4, 2])]
    assert target.scored == [[(4, (2, 3)), (4, (1,))]]


def test_a_given_text_that_the_target_wrote_itself_is_not_scored_again():
    target = Counting()
    works = [write(4), Work("same", sound(4), "p", 8, (4,)), Work("other", sound(4), "p", 8, (5,))]
    found = done(target, works)
    assert target.scored == [[(4, (5,))]]
    assert found["same"] is found["write-p-4"] and found["other"].ids.tolist() == [5]


def test_given_texts_of_like_length_are_scored_together_so_many_at_once(monkeypatch):
    monkeypatch.setattr(work_module, "TEXTS_AT_ONCE", 2)
    target = Counting()
    lengths = (3, 1, 5, 2, 4)
    found = done(target, [Work(f"text-{n}", sound(9), "p", 8, (1,) * n) for n in lengths])
    assert [[len(ids) for _, ids in part] for part in target.scored] == [[5, 4], [3, 2], [1]]
    assert {key: one.n_tokens for key, one in found.items()} == {f"text-{n}": n for n in lengths}


def test_audio_that_only_bears_given_texts_is_not_decoded():
    target = Counting()
    done(target, [Work("a", sound(4), "p", 8, (1,))])
    assert target.read == [] and target.scored == [[(4, (1,))]]


def test_prompts_are_never_mixed_in_a_batch():
    target = Counting()
    done(target, [write(4, "p"), write(3, "q"), write(2, "p")])
    assert target.read == [("p", [4, 2]), ("q", [3])]


def test_each_batch_is_prepared_before_the_one_that_precedes_it_is_read():
    target = Counting()
    done(target, [write(length) for length in (4, 3, 2, 1)], BatchSize(2, fixed=True))
    assert target.prepared == [(0, [4, 3]), (0, [2, 1])]


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("x"), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")],
)
def test_out_of_memory_halves_the_batch_and_loses_no_clip(error):
    target, size = Counting(room=3, error=error), BatchSize(8, fixed=True)
    lengths = list(range(1, 21))
    found = done(target, [write(length) for length in lengths], size)
    assert sorted(int(one.ids[0]) for one in found.values()) == lengths
    assert size.rows == 2 and target.forgot > 1
    assert all(len(batch) <= 3 for _, batch in target.read)


def test_one_clip_that_is_too_large_alone_is_a_sentence_with_its_length():
    with pytest.raises(InputError, match=r"counting: one clip of 2\.0 s needs more memory than there is"):
        done(Counting(room=0), [write(32_000)])


def test_another_error_is_not_taken_for_a_lack_of_memory():
    with pytest.raises(RuntimeError, match="shapes"):
        done(Counting(room=0, error=RuntimeError("shapes differ")), [write(3), write(2)])
    assert not out_of_memory(ValueError("can't allocate memory"))


def test_a_batch_grows_only_where_its_size_was_not_given_and_the_peak_is_low():
    free, given = BatchSize(), BatchSize.of(16, Counting())
    rows = free.rows
    free.grow(0.9), free.grow(None), given.grow(0.1)
    assert (free.rows, given.rows) == (rows, 16)
    for _ in range(20):
        free.grow(0.1)
    assert free.rows == MOST_ROWS
    free.shrink(MOST_ROWS)
    free.grow(0.1)
    assert free.rows == MOST_ROWS // 2


def test_a_gpu_begins_with_many_clips_a_small_model_with_fewer_and_all_else_with_few():
    def target(kind, parameters):
        found = Counting()
        found.model = SimpleNamespace(device=torch.device(kind), num_parameters=lambda: parameters)
        return found

    rows = [BatchSize.of(None, one).rows for one in (target("cpu", 10**6), target("cuda", 8 * 10**9))]
    assert rows == [SMALL_ROWS, FIRST_ROWS]
    assert [BatchSize.of(None, one).rows for one in (target("cpu", 8 * 10**9), Counting())] == [CAUTIOUS_ROWS] * 2


def test_a_result_is_made_while_the_one_before_it_is_used():
    begun = [threading.Event() for _ in range(3)]

    def results():
        for index, event in enumerate(begun):
            event.set()
            yield index

    found = []
    for index in ahead(results()):
        found.append(index)
        if index < 2:
            assert begun[index + 1].wait(10)  # made by another thread, while this one is held up here
    assert found == [0, 1, 2]


def test_an_error_comes_after_the_results_before_it():
    def results():
        yield 1
        raise InputError("no")

    coming = ahead(results())
    assert next(coming) == 1
    with pytest.raises(InputError, match="no"):
        next(coming)


def test_several_are_made_at_once_each_in_its_own_order():
    meeting = threading.Barrier(2, timeout=10)  # passed only by two threads at the same time

    def results(name):
        for index in range(3):
            meeting.wait()
            yield name, index

    found = list(ahead(results("a"), results("b")))
    assert [one for one in found if one[0] == "a"] == [("a", index) for index in range(3)]
    assert [one for one in found if one[0] == "b"] == [("b", index) for index in range(3)]
    assert len(found) == 6


class Meeting(Counting):
    """A target whose batches begin together with those of another."""

    def __init__(self, meeting, **settings):
        super().__init__(**settings)
        self.meeting = meeting

    def generate(self, audios, prompt, max_new_tokens):
        self.meeting.wait()
        return super().generate(audios, prompt, max_new_tokens)


@pytest.mark.parametrize("rows", [2, 100])
def test_targets_side_by_side_share_out_what_is_to_be_done(rows):
    meeting = threading.Barrier(2, timeout=10)
    several = [Meeting(meeting), Meeting(meeting)]
    works = [write(length) for length in range(1, 9)]
    parts = list(execute_together(several, works, BatchSize(rows, fixed=True)))
    read = [lengths for one in several for _, lengths in one.read]
    assert sorted(read) == ([[2, 1], [4, 3], [6, 5], [8, 7]] if rows == 2 else [[4, 3, 2, 1], [8, 7, 6, 5]])
    assert sorted(key for part in parts for key in part) == sorted(work.key for work in works)
    assert [one.forgot for one in several] == [len(one.read) for one in several]


def test_out_of_memory_side_by_side_loses_no_clip():
    several = [Counting(room=3), Counting(room=3)]
    works = [write(length) for length in range(1, 41)]
    found = [key for part in execute_together(several, works, BatchSize(8)) for key in part]
    assert sorted(found) == sorted(work.key for work in works)


def test_an_error_of_several_targets_is_raised():
    several = [Counting(room=0, error=RuntimeError("shapes differ")) for _ in range(2)]
    with pytest.raises(RuntimeError, match="shapes"):
        list(execute_together(several, [write(length) for length in range(1, 9)], BatchSize(2, fixed=True)))


def test_nothing_to_do_is_no_batch():
    assert list(execute(Counting(), [])) == []
    assert list(execute_together([Counting(), Counting()], [], BatchSize())) == []
    assert heard_once([]) == [] and next_batch([], 4) == ([], [])
