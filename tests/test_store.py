"""The cache: what is put is got, a kill loses one batch at most, and no row is trusted to be more than bytes."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precompute.clips import InputError
from precompute.store import Store, _decode, _encode

ROW = {"nll": np.array([0.5, 1.25], dtype=np.float32), "ids": np.array([3, 4]), "text": "né\0"}

WRITER = """
import sys
import numpy as np
from precompute.store import Store

with Store(sys.argv[1]) as store:
    for batch in range(10**6):
        store.put_many({f"{batch}/{k}": {"x": np.full(5000, batch)} for k in range(16)})
        print(batch, flush=True)
"""


def same(found, expected):
    return found.keys() == expected.keys() and all(np.array_equal(found[name], expected[name]) for name in expected)


def database(folder):
    return sqlite3.connect(folder / "cache.db", isolation_level=None)


def test_what_is_put_is_got_again_also_by_a_later_process(tmp_path):
    with Store(tmp_path / "new" / "cache") as store:
        store.put_many({"a": ROW, "b": {}})
    with Store(tmp_path / "new" / "cache") as store:
        assert same(store.get("a"), ROW) and store.get("a")["nll"].dtype == np.float32
        assert store.get("b") == {}
        assert store.get("c") is None
        assert "a" in store and "c" not in store and len(store) == 2


def test_a_later_row_replaces_an_earlier_one(tmp_path):
    with Store(tmp_path) as store:
        store.put_many({"a": ROW})
        store.put_many({"a": {"x": "new"}})
        assert store.get("a") == {"x": "new"} and len(store) == 1


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8),
        st.one_of(
            st.text(max_size=20),
            st.lists(st.floats(width=32), max_size=5).map(lambda v: np.array(v, dtype=np.float32)),
            st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5).map(lambda v: np.array(v, dtype=np.int64)),
        ),
        max_size=4,
    )
)
def test_every_text_and_every_array_survives_the_trip(value):
    found = _decode(_encode(value))
    assert found.keys() == value.keys()
    for name, item in value.items():
        assert type(found[name]) is type(item)
        np.testing.assert_array_equal(found[name], item)


def test_objects_cannot_be_kept_since_they_could_not_be_read_safely(tmp_path):
    with Store(tmp_path) as store:
        with pytest.raises(TypeError, match="x: objects cannot be kept"):
            store.put_many({"good": ROW, "bad": {"x": np.array([{}], dtype=object)}})
        assert len(store) == 0


def test_keys_depend_on_every_part_and_not_on_their_order():
    key = Store.key(audio="ab", seed=1, prompt=None, parameters={"x": 0.1, "y": [1, 2]})
    assert key == Store.key(parameters={"y": (1, 2), "x": 0.1}, prompt=None, seed=np.int64(1), audio="ab")
    others = [{"seed": 2}, {"audio": "ac"}, {"prompt": "None"}, {"parameters": {"x": 0.1, "y": [2, 1]}}, {"new": 0}]
    base = {"audio": "ab", "seed": 1, "prompt": None, "parameters": {"x": 0.1, "y": [1, 2]}}
    assert len({key, *(Store.key(**{**base, **other}) for other in others)}) == 6


def test_keys_stay_the_same_from_version_to_version():
    # By hand: printf '{"a": 1, "b": "\\u00e9", "layout": 2}' | b2sum -l 160
    assert Store.key(b="é", a=1) == "4cc332e6e6e5f4b321424e7a5625c1facd106276"


def test_what_has_no_one_spelling_cannot_be_part_of_a_key():
    with pytest.raises(TypeError, match="set cannot be part"):
        Store.key(x={1, 2})
    with pytest.raises(ValueError, match="not JSON compliant"):
        Store.key(x=float("nan"))


def test_a_killed_writer_loses_at_most_the_batch_in_flight(tmp_path):
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    for line in writer.stdout:
        if int(line) == 20:
            break
    # Killed somewhere in the middle of a later batch; what it still managed to announce must be there.
    os.kill(writer.pid, signal.SIGKILL)
    announced = [20, *(int(line) for line in writer.stdout)][-1]
    assert writer.wait() == -signal.SIGKILL
    with Store(tmp_path) as store:
        for batch in range(announced + 1):
            for k in range(16):
                np.testing.assert_array_equal(store.get(f"{batch}/{k}")["x"], np.full(5000, batch))
        # Of the batch in flight there is all or nothing, and work goes on.
        assert len(store) in (16 * (announced + 1), 16 * (announced + 2))
        store.put_many({"next": ROW})
        assert same(store.get("next"), ROW)


def test_an_interrupted_batch_is_taken_back_whole(tmp_path, monkeypatch):
    with Store(tmp_path) as store:
        store.put_many({"a": ROW})
        put, calls = store._cache.set, []

        def interrupted(key, data):
            calls.append(key)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return put(key, data)

        monkeypatch.setattr(store._cache, "set", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.put_many({"b": ROW, "c": ROW})
        monkeypatch.undo()
        assert len(store) == 1 and "b" not in store


def test_a_second_writer_is_told_who_writes_and_what_to_do(tmp_path):
    with (
        Store(tmp_path),
        pytest.raises(InputError, match=rf"another audit \(process {os.getpid()}\) is writing .* --cache"),
        Store(tmp_path),
    ):
        pass
    with Store(tmp_path) as later:
        assert len(later) == 0


def test_threads_of_one_process_may_share_a_store(tmp_path):
    with Store(tmp_path) as store:
        threads = [
            threading.Thread(target=lambda n=n: [store.put_many({f"{n}/{k}": ROW}) for k in range(20)])
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store) == 80 and same(store.get("3/19"), ROW)


@pytest.fixture
def planted(tmp_path):
    """A folder beside the cache, whose file a hostile row tries to reach, and a way to plant that row."""
    folder = tmp_path / "cache"
    with Store(folder) as store:
        store.put_many({"a": ROW, "b": ROW})
    (tmp_path / "outside.val").write_bytes(_encode(ROW))

    def plant(**columns):
        with database(folder) as connection:
            for name, value in columns.items():
                connection.execute(f"UPDATE Cache SET {name} = ? WHERE key = 'a'", (value,))
        return folder

    return plant


# Protocol 0 of Python's serialisation, calling os.system: what diskcache would run on reading such a row.
PAYLOAD = b"cos\nsystem\n(S'touch hacked'\ntR."


@pytest.mark.parametrize(
    "columns",
    [
        {"mode": 4, "value": PAYLOAD},
        {"mode": 4, "value": None, "filename": "../outside.val"},
        {"mode": 2, "value": None, "filename": "../outside.val"},
        {"mode": 3, "value": None, "filename": "/etc/hostname"},
        {"mode": 1, "filename": "inside.val"},
        {"value": "text"},
        {"value": 5},
    ],
)
def test_a_row_that_claims_to_be_an_object_or_a_file_is_refused_in_one_sentence(
    planted, columns, tmp_path, monkeypatch
):
    folder = planted(**columns)
    monkeypatch.chdir(tmp_path)
    with Store(folder) as store:
        with pytest.raises(InputError, match=r"cache: this cache holds a row that .* delete it") as refused:
            store.get("a")
        assert "\n" not in str(refused.value)
        assert same(store.get("b"), ROW)
    assert not (tmp_path / "hacked").exists()


def test_replacing_a_hostile_row_deletes_no_file_outside(planted, tmp_path):
    with Store(planted(filename="../outside.val")) as store, pytest.raises(InputError, match="points to a file"):
        store.put_many({"a": ROW})
    assert (tmp_path / "outside.val").is_file()


def test_a_serialised_key_is_refused(planted, tmp_path, monkeypatch):
    folder = planted()
    monkeypatch.chdir(tmp_path)
    with database(folder) as connection:
        connection.execute("UPDATE Cache SET key = ?, raw = 0 WHERE key = 'a'", (PAYLOAD,))
    with Store(folder) as store, pytest.raises(InputError, match="a key that is not text"):
        list(store._cache)
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("data", [b"", b"junk", zlib.compress(b"PK junk"), _encode(ROW)[:-20], zlib.compress(PAYLOAD)])
def test_a_damaged_row_is_an_error_that_names_the_folder_and_is_not_taken_for_missing(planted, data):
    with Store(planted(value=data)) as store, pytest.raises(InputError, match=r"cannot be used \(row a is damaged\)"):
        store.get("a")


def test_a_file_that_is_no_cache_is_refused_in_words(tmp_path):
    (tmp_path / "cache.db").write_bytes(b"not a database, and longer than its header" * 50)
    with pytest.raises(InputError, match=r"cannot be used .*not a database"), Store(tmp_path):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot hold a cache"), Store(tmp_path / "file"):
        pass


def test_nothing_is_ever_evicted_whatever_the_folder_says(tmp_path):
    with Store(tmp_path):
        pass
    with database(tmp_path) as connection:
        connection.execute("UPDATE Settings SET value = 'least-recently-stored' WHERE key = 'eviction_policy'")
        connection.execute("UPDATE Settings SET value = 10 WHERE key = 'cull_limit'")
        connection.execute("UPDATE Settings SET value = 1000 WHERE key = 'size_limit'")
    with Store(tmp_path) as store:
        noise = np.random.default_rng(0).random(10_000)
        for k in range(20):
            store.put_many({str(k): {"x": noise}})
        assert all(str(k) in store for k in range(20))
        assert store._cache.volume() > 20 * noise.nbytes / 2
