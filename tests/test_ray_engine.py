"""The ray engine on a cluster of two machines of one CPU each: what it answers, and what is lost with a worker."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
import ray
import ray_targets
import torch
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.cluster_utils import Cluster
from ray_targets import BAD, BUG, DEADLY, Doomed, SumTarget, SumWorker
from transformers import PreTrainedModel

from precompute.audit import fill
from precompute.clips import InputError
from precompute.conditions.voices import Studio
from precompute.corpora import EMBEDDED
from precompute.engine import groups as grouping
from precompute.engine.cluster import dtype_of_workers, room_on
from precompute.engine.groups import groups, windows
from precompute.engine.ray_engine import AHEAD, RayEngine, lost
from precompute.engine.wire import pack_heard, pack_stats, unpack_stats, unpack_works
from precompute.engine.worker import WorkerTarget, check_version, code_version
from precompute.indicators import STATISTICS, TokenStats
from precompute.request import Request
from precompute.scores import Plan, missing_works, score_clips
from precompute.scoring import stats_to_arrays
from precompute.store import Store
from precompute.targets import load_target
from precompute.work import Work, execute, heard_once

ROOT = Path(__file__).parents[1]
TINY = "tiny-audio-flamingo"
PLAN = Plan(conditions=("original", "silence_fixed"))


@pytest.fixture(scope="module")
def cluster():
    """Two machines of one CPU each, and one where the tests run; workers get these tests' targets by value."""
    ray.cloudpickle.register_pickle_by_value(ray_targets)
    health = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 2}
    head = {"num_cpus": 0, "object_store_memory": 10**8, "include_dashboard": False, "_system_config": health}
    made = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        made.add_node(num_cpus=1, object_store_memory=10**8)
    yield made
    made.shutdown()
    ray.cloudpickle.unregister_pickle_by_value(ray_targets)


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    monkeypatch.setattr(grouping, "GROUP_CLIPS", 4)


@pytest.fixture(scope="module")
def clips():
    return EMBEDDED["core-clean"]().clips[:24]


def works(count: int, first: float | None = None) -> list[Work]:
    """Two works on each of `count` audio, the tenth of which begins with `first`."""
    generator = np.random.default_rng(0)
    made = []
    for i in range(count):
        audio = generator.normal(size=800 * (1 + i % 7)).astype(np.float32)
        if i == 9 and first is not None:
            audio[0] = first
        made += [Work(f"w{i}", audio, "prompt", 8), Work(f"r{i}", audio, "prompt", 8, (1, 2, 3 + i))]
    return made


def together(answers) -> dict[str, TokenStats]:
    """All answers; a key that is answered twice is an error."""
    found: dict[str, TokenStats] = {}
    for answer in answers:
        assert not set(answer) & set(found)
        found |= answer
    return found


def assert_same(found, expected):
    assert set(found) == set(expected)
    for key, stats in expected.items():
        assert (found[key].ids.tolist(), found[key].tokens, found[key].text) == (
            *(stats.ids.tolist(), stats.tokens),
            stats.text,
        )
        np.testing.assert_allclose(found[key].numbers, stats.numbers, atol=1e-4)


def locally(asked) -> dict[str, TokenStats]:
    return together(execute(SumTarget(), asked))


class Unasked:
    """A target whose answers are all in the store: it must not be asked for any."""

    def __init__(self, target):
        self._target = target

    def __getattr__(self, name):
        assert name not in ("generate", "score")
        return getattr(self._target, name)


def test_scores_equal_those_of_the_local_engine_though_a_worker_is_killed_midway(cluster, clips, tmp_path):
    target = load_target(TINY)
    marker = tmp_path / "killed"
    asked = Doomed(TINY, target.revision, target.dtype, marker=str(marker))
    stored = []
    with Store(tmp_path / "ray") as store, RayEngine(asked, address=cluster.address) as engine:
        for stage in (1, 2):
            for done in engine.run(missing_works(stage, target, clips, PLAN, store, int)):
                stored += done
                store.put_many({key: stats_to_arrays(stats) for key, stats in done.items()})
        assert engine.workers == 2
        assert marker.exists()
        assert len(stored) == len(set(stored)) == len(store)
        found = list(score_clips(Unasked(target), clips, PLAN, store, int))
    with Store(tmp_path / "local") as store:
        expected = list(score_clips(target, clips, PLAN, store, int))
    assert [row["clip_id"] for row, _ in found] == [row["clip_id"] for row, _ in expected]
    assert_same(
        {str(i): stats for i, (_, stats) in enumerate(found)}, {str(i): stats for i, (_, stats) in enumerate(expected)}
    )
    assert len(expected) == len(clips) * PLAN.texts_per_clip()


def test_the_process_that_asks_holds_no_weights_and_finds_what_workers_scored(cluster, clips, tmp_path, monkeypatch):
    whole = load_target(TINY)
    cell = {"conditions": ("original",), "max_new_tokens": 4}
    request = Request((), (TINY,), tmp_path, tmp_path, Plan(**cell), engine="ray", ray_address=cluster.address)
    monkeypatch.setattr(PreTrainedModel, "from_pretrained", None)
    target = request.take(TINY)
    with Store(tmp_path / "ray") as store, Studio() as studio:
        fill(TINY, target, clips[:3], request, store, studio)
        found = list(score_clips(target, clips[:3], request.plan, store, int))
        expected = list(score_clips(Unasked(whole), clips[:3], request.plan, store, int))  # under the very same keys
        with pytest.raises(InputError, match="its weights are with the workers, who left at least 2 texts unanswered"):
            list(score_clips(target, clips[3:5], request.plan, store, int))
    assert [row["nll"] for row, _ in found] == [row["nll"] for row, _ in expected]
    assert len(found) == 6 and all(np.isfinite(row["nll"]) for row, _ in found)


def test_an_automatic_dtype_is_that_of_the_workers_devices(cluster):
    assert dtype_of_workers("auto", "auto", cluster.address) == "float32"
    node = cluster.add_node(num_cpus=0, num_gpus=1, object_store_memory=10**8)
    try:
        assert dtype_of_workers("auto", "auto", cluster.address) == "bfloat16"
        assert dtype_of_workers("auto", "cpu", cluster.address) == "float32"
        assert dtype_of_workers("float16", "auto", cluster.address) == "float16"
    finally:
        cluster.remove_node(node)
    assert not ray.is_initialized()
    assert dtype_of_workers("auto", "cuda:1", "127.0.0.1:1") == "bfloat16"  # said, so nobody is asked
    with pytest.raises(InputError, match="no Ray cluster can be used at 127"):
        dtype_of_workers("auto", "auto", "127.0.0.1:1")


@pytest.mark.parametrize(("here", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_on_a_cluster_of_its_own_the_workers_devices_are_those_of_this_machine(monkeypatch, here, dtype):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: here)
    assert dtype_of_workers("auto", "auto", None) == dtype


def test_a_run_streams_and_a_failed_one_leaves_the_engine_usable(cluster):
    drawn = 0

    def counted(asked):
        nonlocal drawn
        for work in asked:
            drawn += 1
            yield work

    with RayEngine(SumWorker(), workers=2, address=cluster.address) as engine:
        many, answered = works(400), 0
        for answer in engine.run(counted(many)):
            answered += len(answer)
            # What is drawn and not answered: groups on their way, and those of one window that wait to be sent.
            assert drawn - answered <= 2 * grouping.GROUP_CLIPS * engine.workers * (AHEAD + 2)
        assert drawn == answered == len(many)
        with pytest.raises(InputError, match=r"^this clip cannot be heard$"):
            list(engine.run(works(40, BAD)))
        with pytest.raises(InputError, match=r"3 workers ended, one after the other, .* under audio of up to 0.. s"):
            list(engine.run(works(40, DEADLY)))
        next(engine.run(works(100)))  # given up after its first answer
        assert_same(together(engine.run(works(30))), locally(works(30)))
        assert list(engine.run([])) == []


def test_a_machine_that_is_lost_for_good_loses_no_work(cluster, tmp_path):
    asked = Doomed("sum", "1", "float32", marker=str(tmp_path / "killed"), machine=True, quick=True)
    with RayEngine(asked, address=cluster.address, patience=2.0) as engine:
        assert_same(together(engine.run(works(60))), locally(works(60)))
    assert (tmp_path / "killed").exists()
    cluster.remove_node(next(node for node in cluster.worker_nodes if not alive(node)), allow_graceful=False)
    cluster.add_node(num_cpus=1, object_store_memory=10**8)


def alive(node) -> bool:
    return all(
        psutil.pid_exists(info.process.pid) and info.process.poll() is None for info in node.all_processes["raylet"]
    )


def test_a_mistake_in_the_code_of_a_worker_is_shown_as_it_is(cluster):
    with RayEngine(SumWorker(), workers=1, address=cluster.address) as engine:
        for asked in (works(20, BUG), works(20)):  # a pipeline that has failed is not waited for again
            with pytest.raises(ray.exceptions.RayTaskError, match="ZeroDivisionError: a mistake in the code"):
                list(engine.run(asked))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (SumWorker(deadly=True), "sum: workers end while they load it"),
        (WorkerTarget("/nowhere/at/all", "1", "float32"), "no such target: /nowhere/at/all"),
    ],
    ids=["deadly", "missing"],
)
def test_a_target_that_workers_cannot_hold_is_one_sentence(cluster, asked, sentence):
    with RayEngine(asked, workers=1, address=cluster.address) as engine, pytest.raises(InputError, match=sentence):
        list(engine.run(works(2)))


def test_leaving_the_engine_ends_its_workers_and_leaves_the_cluster(cluster):
    with RayEngine(SumWorker(), workers=2, address=cluster.address) as engine:
        list(engine.run(works(10)))
        held = workers_of(cluster)
    assert len(held) == 2
    assert psutil.wait_procs(held, timeout=20)[1] == []
    assert not ray.is_initialized()
    assert all(alive(node) for node in cluster.list_all_nodes())


def workers_of(cluster) -> list[psutil.Process]:
    raylets = [info.process.pid for node in cluster.list_all_nodes() for info in node.all_processes["raylet"]]
    children = [child for pid in raylets for child in psutil.Process(pid).children()]
    return [child for child in children if "MapWorker" in child.name()]


def test_a_cluster_that_is_joined_before_stays_joined(cluster):
    ray.init(cluster.address, log_to_driver=False)
    try:
        with RayEngine(SumWorker(), workers=1) as engine:
            assert_same(together(engine.run(works(5))), locally(works(5)))
        assert ray.is_initialized()
        with (
            RayEngine(SumWorker(), gpus_per_worker=1.0) as engine,
            pytest.raises(InputError, match="no worker can run"),
        ):
            list(engine.run(works(1)))
    finally:
        ray.shutdown()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:1", "Connection refused"),
        ("somewhere", "neither auto nor host:port"),
        ("ray://localhost:10001", "neither auto nor host:port"),
    ],
)
def test_where_no_cluster_is_that_is_said(address, reason):
    with RayEngine(SumWorker(), address=address) as engine, pytest.raises(InputError, match=reason):
        list(engine.run(works(1)))


INTERRUPTED = """
import itertools, sys
import numpy as np
import ray
from ray._common.usage.usage_lib import usage_stats_enabled
from ray_targets import SumWorker
from precompute.engine.ray_engine import RayEngine
from precompute.work import Work

endless = (Work(str(i), np.full(8000, i, dtype=np.float32), "prompt", 4) for i in itertools.count())
try:
    with RayEngine(SumWorker(), workers=1) as engine:
        for answer in engine.run(endless):
            print(usage_stats_enabled(), ray._private.worker.global_worker.node.webui_url or "no dashboard", flush=True)
except KeyboardInterrupt:
    print("interrupted", ray.is_initialized())
    sys.exit(130)
"""


def test_a_cluster_of_its_own_is_quiet_and_ends_with_an_interrupt(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "False no dashboard\n"
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert said.splitlines()[-1] == "interrupted False"
    assert process.returncode == 130
    assert len(family) > 3
    assert psutil.wait_procs(family, timeout=20)[1] == []


def test_windows_draw_no_more_than_a_group_for_each_worker():
    asked, drawn = works(40), itertools.count()
    window = next(windows((work for work in asked if next(drawn) >= 0), workers=2))
    assert len({id(work.audio) for work in window}) == 2 * grouping.GROUP_CLIPS
    assert next(drawn) == len(window)
    assert [work.key for part in windows(asked, 2) for work in part] == [work.key for work in asked]


def test_windows_are_bounded_by_audio_too(monkeypatch):
    monkeypatch.setattr(grouping, "GROUP_BYTES", 4 * 800)
    asked = [
        Work(str(i), np.full(length, i, dtype=np.float32), "", 1) for i, length in enumerate([1600, 300, 400, 500])
    ]
    assert [[work.key for work in part] for part in windows(asked, 2)] == [["0"], ["1", "2", "3"]]
    assert [[heard.writes for heard in group] for group in groups(asked, 1)] == [["0"], ["3", "2"], ["1"]]


def test_groups_divide_what_is_left_evenly_and_keep_one_audio_together():
    asked = works(5)
    made = groups(reversed(asked), workers=2)
    assert [len(group) for group in made] == [3, 2]
    assert [len(heard.audio) for group in made for heard in group] == [4000, 3200, 2400, 1600, 800]
    assert all(heard.writes and len(heard.texts) == 1 for group in made for heard in group)
    assert max(len(group) for group in groups(works(100), workers=2)) == grouping.GROUP_CLIPS


def test_works_come_through_the_wire_as_they_were():
    asked = [*works(2), Work("only a text", np.ones(3, dtype=np.float32), "Ünïcode ✓", 64, (7,))]
    came = {work.key: work for work in unpack_works(pack_heard(heard_once(asked)))}
    assert set(came) == {work.key for work in asked}
    for work in asked:
        assert (came[work.key].prompt, came[work.key].max_new_tokens, came[work.key].ids) == (
            *(work.prompt, work.max_new_tokens),
            work.ids,
        )
        assert came[work.key].audio.dtype == np.float32
        np.testing.assert_array_equal(came[work.key].audio, work.audio)
    assert came["w0"].audio is came["r0"].audio


def test_token_statistics_come_through_the_wire_as_they_were():
    numbers = np.array([[-0.5] * len(STATISTICS), [np.nan, *[-np.inf] * 7]], dtype=np.float32)
    some = TokenStats.from_numbers(np.array([5, 2**40]), numbers, ("é\0", ""), "é\0")
    none = TokenStats.from_numbers(np.zeros(0, dtype=int), np.zeros((0, len(STATISTICS)), np.float32), (), "")
    came = unpack_stats(pack_stats({"some": some, "none": none}))
    assert list(came) == ["some", "none"]
    assert (came["some"].ids.tolist(), came["some"].tokens, came["some"].text) == ([5, 2**40], ("é\0", ""), "é\0")
    np.testing.assert_array_equal(came["some"].numbers, numbers)
    assert came["none"].n_tokens == 0


def test_nothing_but_rows_of_the_known_layout_is_read_from_the_wire():
    with pytest.raises(ValueError, match="rows of another layout"):
        unpack_stats(pack_heard(heard_once(works(1))))
    with pytest.raises(pa.ArrowInvalid):
        unpack_stats(ray.cloudpickle.dumps({"key": 1}))


def test_a_worker_refuses_other_code_than_the_asking_machine_has():
    check_version(code_version())
    with pytest.raises(InputError, match="another version of precompute"):
        check_version("0" * 16)


def test_a_worker_refuses_another_target_than_the_asking_machine_has():
    revision = load_target(TINY).revision
    assert WorkerTarget(TINY, revision, "float32").load().revision == revision
    with pytest.raises(InputError, match=f"{TINY}: {revision} in float32 lies on .*, another in float32 is asked for"):
        WorkerTarget(TINY, "another", "float32").load()


def test_a_folder_is_named_by_its_whole_path_and_an_embedded_target_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    assert WorkerTarget("model", "1", "float32").located().name == str(tmp_path / "model")
    assert WorkerTarget(TINY, "1", "float32").located().name == TINY
    assert WorkerTarget("owner/name", "1", "float32").located().name == "owner/name"


def test_a_machine_has_room_by_its_scarcer_resource():
    assert room_on({"CPU": 4.0}, 0.0) == 4
    assert room_on({"CPU": 4.0}, 1.0) == 0
    assert room_on({"CPU": 16.0, "GPU": 4.0}, 1.0) == 4
    assert room_on({"CPU": 16.0, "GPU": 4.0}, 0.5) == 8
    assert room_on({"CPU": 2.0, "GPU": 8.0}, 2.0) == 2


def test_what_ends_a_worker_before_it_is_built_is_told_by_the_last_line():
    built = RuntimeError(
        "The actor died because of an error raised in its creation task, x\n  File y\nImportError: z\n"
    )
    assert str(lost(built)).startswith("the workers cannot go on (ImportError: z);")
    assert str(lost(RuntimeError("The node died.\nlog"))).startswith("the workers cannot go on (The node died);")


def test_the_documented_cluster_is_one_that_ray_accepts():
    config = yaml.safe_load((ROOT / "docs/ray-cluster.yaml").read_text())
    validate_config(prepare_config(config))
    assert any("RAY_USAGE_STATS_ENABLED=0" in command for command in config["head_start_ray_commands"])


def test_the_documented_slurm_job_is_a_script_that_bash_can_read():
    checked = subprocess.run([shutil.which("bash"), "-n", ROOT / "docs/slurm.sh"], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
