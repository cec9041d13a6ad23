"""The SYNTHETIC bundle that the explorer is measured with: it is one of the contract, and says what it is."""

import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from precompute.bench import big_bundle, explorer
from precompute.bench.big_results import weighted_auc
from precompute.bundle import audio_file, read_bundle
from precompute.clips import InputError
from precompute.conditions import CONDITIONS
from precompute.indicators import EXTRAS, INDICATORS
from precompute.statistics.roc import auc

INPUTS = sum(condition.realizations for condition in CONDITIONS.values())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return read_bundle(big_bundle.write(tmp_path_factory.mktemp("big") / "b", datasets=3, targets=2, clips=41, heard=6))


def test_every_input_and_scored_text_is_there_for_every_clip(bundle):
    keys = ["dataset", "target", "condition", "realization", "scored_text"]
    sizes = bundle.scores.groupby(keys).size()
    assert len(sizes) == 3 * 2 * (3 * INPUTS - 1) and set(sizes) == {41}
    assert set(INDICATORS) | set(EXTRAS) <= set(bundle.scores.columns)
    tokens = bundle.tokens().set_index(["clip_id", *keys[1:]])
    scored = bundle.scores.set_index(["clip_id", *keys[1:]]).loc[tokens.index]
    assert [len(row) for row in tokens["token"]] == scored["n_tokens"].tolist()
    written = ["".join(row[:-1]).strip() for row in tokens["token"]]
    assert written == scored["generated_text"].tolist()


def test_scores_have_a_row_group_for_each_cell_and_tokens_come_in_chunks_of_clips(bundle):
    scores = pq.ParquetFile(bundle.path / "scores.parquet").metadata
    assert scores.num_row_groups == 3 * 2 * (3 * INPUTS - 1)
    tokens = pq.ParquetFile(bundle.path / "tokens.parquet")
    assert tokens.read_row_group(0, columns=["clip_id"]).column("clip_id").to_pylist() != sorted(bundle.clips.clip_id)


def test_the_results_are_those_of_the_scores(bundle):
    for row in bundle.results["mia"][::17]:
        names = ("dataset", "target", "condition", "realization", "scored_text")
        cell = bundle.scores[np.logical_and.reduce([bundle.scores[name] == row[name] for name in names])]
        cell = cell.dropna(subset="mia_score")
        column = {"refit": "mia_score", "transfer": "mia_score_transfer"}[row["fit"]]
        assert row["auc"] == pytest.approx(auc(cell["label"].to_numpy(), cell[column].to_numpy(float)), abs=1e-6)
    assert len(bundle.results["verdicts"]) == 6 and len(bundle.results["heatmap"]) == 2 * 9


def test_weights_count_in_the_adjusted_auc(bundle):
    rng = np.random.default_rng(0)
    y, scores, w = np.arange(40) % 2 == 0, rng.integers(0, 9, 40).astype(float), rng.random(40)
    higher = np.sign(scores[y][:, None] - scores[~y]) / 2 + 0.5
    wanted = np.average(higher, weights=np.outer(w[y], w[~y]))
    assert weighted_auc(y, scores, w) == pytest.approx(wanted)


def test_some_clips_of_each_dataset_can_be_heard_and_every_title_says_synthetic(bundle):
    heard = bundle.clips[[audio_file(bundle.path, clip_id).is_file() for clip_id in bundle.clips["clip_id"]]]
    assert heard.groupby("dataset").size().tolist() == [6, 6, 6]
    assert all(audio_file(bundle.path, c, "resynthesis", 2).is_file() for c in heard["clip_id"])
    assert all("SYNTHETIC" in row["title"] and "invented" in row["description"] for row in bundle.audit["datasets"])


def test_every_page_opens_on_it(bundle):
    from explorer import method, overview
    from explorer.catalog import Catalog
    from explorer.served import Served

    served = Served.open(Catalog(bundle))
    assert overview.overview(served.catalog).count("<tr>") == 1 + 6
    assert "told apart" in (served.folder / served.evidence(2, 1).rsplit("/", 1)[1]).read_text()
    assert "not scored" not in (served.folder / served.grid(2, 1, 0).rsplit("/", 1)[1]).read_text()
    assert method.page(served.catalog)
    served.close()


def test_without_playwright_or_chromium_the_measure_says_what_is_missing(bundle, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: "/nowhere/chromium")
    with pytest.raises(InputError, match="apt-get install chromium"):
        explorer.measure_explorer(bundle.path)
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    with pytest.raises(InputError, match="pip install playwright"):
        explorer.measure_explorer(bundle.path)


def test_an_app_that_does_not_start_is_said_in_its_own_words(tmp_path, bundle):
    (tmp_path / "app.py").write_text("import sys; print('error: no such thing', file=sys.stderr); sys.exit(2)")
    with (
        pytest.raises(InputError, match="did not start: error: no such thing"),
        explorer._server(bundle.path, tmp_path / "app.py"),
    ):
        pass


def test_every_measure_of_the_explorer_is_taken(bundle, monkeypatch):
    monkeypatch.setattr(explorer, "CLICKS", 3)
    monkeypatch.setattr(explorer, "MOVES", 5)
    found = explorer.measure_explorer(bundle.path, repeats=1)
    assert set(found["pages_s"]) == set(explorer.PAGES) and found["page_s"] == max(found["pages_s"].values())
    measures = set(found) - {"pages_s", "bars"}
    assert set(explorer.BARS) <= measures and all(found[name] > 0 for name in measures)
    assert found["payload_kb"] < found["payload_all_conditions_kb"]


def test_importing_the_generator_starts_nothing_heavy():
    code = (
        "import sys, precompute.bench.explorer; print({'gradio', 'playwright', 'torch', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
