"""Corpora that are made or fetched are kept whole, in one place, and made once."""

from pathlib import Path

import pytest

from precompute.corpora.home import data_home, made_once


def test_the_folder_is_the_one_named_or_a_cache_in_the_current_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("AUDIT_DATA", str(tmp_path / "elsewhere"))
    assert data_home() == tmp_path / "elsewhere"
    monkeypatch.delenv("AUDIT_DATA")
    monkeypatch.chdir(tmp_path)
    assert data_home() == tmp_path / ".cache/corpora"


def test_a_corpus_is_made_once_and_each_version_for_itself(monkeypatch, tmp_path):
    monkeypatch.setenv("AUDIT_DATA", str(tmp_path))
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "clip").write_text(str(len(made)))

    first = made_once("bells-v1", make)
    assert made_once("bells-v1", make) == first == tmp_path / "bells-v1"
    assert (first / "clip").read_text() == "1"
    assert (made_once("bells-v2", make) / "clip").read_text() == "2"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bells-v1", "bells-v2"]


def test_what_fails_half_way_leaves_nothing_behind(monkeypatch, tmp_path):
    monkeypatch.setenv("AUDIT_DATA", str(tmp_path))

    def fail(folder: Path) -> None:
        (folder / "clip").write_text("half")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        made_once("bells-v1", fail)
    assert list(tmp_path.iterdir()) == []


def test_of_two_who_make_the_same_at_once_the_first_to_finish_stands(monkeypatch, tmp_path):
    monkeypatch.setenv("AUDIT_DATA", str(tmp_path))

    def slow(folder: Path) -> None:
        (folder / "clip").write_text("second")
        made_once("bells-v1", lambda other: (other / "clip").write_text("first") and None)

    assert (made_once("bells-v1", slow) / "clip").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["bells-v1"]
