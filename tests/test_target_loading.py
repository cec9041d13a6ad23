"""How targets are found, refused and laid out: a hub on 127.0.0.1, too little memory, attention, device maps."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys

import accelerate
import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub.errors import HTTPError
from safetensors.torch import load_file, save_file

import precompute.targets as targets
from precompute.clips import InputError
from precompute.targets import load_target, memory
from precompute.targets.families import FAMILIES, NOT_AUDITED
from precompute.targets.loading import Placement, Source
from precompute.targets.memory import weight_bytes
from tests.hub_replica import GOOD_TOKEN, HubReplica, Repository
from tests.tiny_families import audioflamingo3, canary, moonshine, qwen2_5_omni, speech_to_text

CPU = Placement("cpu", "float32")
LOADER = """
import json, os, sys
from precompute.clips import InputError
from precompute.targets import load_target

answers = {}
for name in sys.argv[1:]:
    if name.startswith("as a friend: "):
        os.environ["HF_TOKEN"] = "hf_allowed"
    try:
        target = load_target(name.removeprefix("as a friend: "), device="cpu")
        answers[name] = [target.id, target.revision, target.model.config.max_position_embeddings]
    except InputError as error:
        answers[name] = str(error)
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return moonshine.build(tmp_path_factory.mktemp("moonshine") / "tiny")


@pytest.fixture(scope="module")
def chat_folder(tmp_path_factory):
    return audioflamingo3.build(tmp_path_factory.mktemp("flamingo") / "tiny")


@pytest.fixture
def copy_of(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


@pytest.fixture(scope="module")
def repositories(folder):
    new = {path.name: path.read_bytes() for path in folder.iterdir()}
    old = {**new, "config.json": json.dumps(json.loads(new["config.json"]) | {"max_position_embeddings": 100}).encode()}
    text = {"config.json": b'{"model_type": "llama"}'}
    return {
        "owner/tiny": Repository({"main": new, "v1": old}),
        "owner/gated": Repository({"main": new}, gated=True),
        "owner/text": Repository({"main": text}),
        "owner/hollow": Repository({"main": {"config.json": new["config.json"]}}),
    }


def load_from(endpoint, cache, *names, **variables):
    """Load models by hub id in a process of its own, as the hub's address is read once."""
    variables = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1", **variables}
    process = subprocess.run(
        [sys.executable, "-c", LOADER, *names],
        env={name: value for name, value in os.environ.items() if name != "HF_TOKEN"} | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(process.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def hub(repositories, tmp_path_factory):
    """What came of every name asked of the hub, the hub's log, and the cache that was left."""
    cache = tmp_path_factory.mktemp("cache")
    old = repositories["owner/tiny"].commits["v1"]
    names = ["owner/tiny", "owner/tiny@v1", f"owner/tiny@{old}", "owner/tiny@v9", "owner/gated", "owner/absent"]
    names += ["owner/text", "owner/hollow", "as a friend: owner/gated"]
    with HubReplica(repositories) as replica:
        return load_from(replica.endpoint, cache, *names), replica.requests, cache


def test_a_hub_model_is_pinned_to_the_commit_its_branch_or_tag_names(hub, repositories):
    answers, requests, _ = hub
    now, old = (repositories["owner/tiny"].commits[branch] for branch in ("main", "v1"))
    assert answers["owner/tiny"] == ["owner/tiny", now, 194]
    assert answers["owner/tiny@v1"] == answers[f"owner/tiny@{old}"] == ["owner/tiny", old, 100]
    read = [request.split("/resolve/")[1].split("/")[0] for request in requests if "owner/tiny/resolve" in request]
    assert set(read) == {now, old, "v9"}  # no file is asked for by a name that may move


def test_weights_are_sized_by_the_first_bytes_of_their_file(hub):
    first = next(request for request in hub[1] if request.startswith("GET") and "model.safetensors" in request)
    assert first.endswith("bytes=0-100000")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("owner/absent", "no such target: there is no folder and no hub model named owner/absent"),
        ("owner/tiny@v9", "owner/tiny: the hub has no revision v9 of it"),
        ("owner/gated", "owner/gated: gated; ask for access on its page and log in with `hf auth login`"),
        ("owner/text", "owner/text: models of type llama are not among the families supported"),
        ("owner/hollow", "owner/hollow: its audio processor is missing or incomplete ("),
    ],
)
def test_what_the_hub_does_not_give_is_said_in_one_sentence(hub, name, sentence):
    assert hub[0][name].startswith(sentence) and "\n" not in hub[0][name]


def test_a_gated_model_is_loaded_by_who_has_access(hub, repositories):
    assert GOOD_TOKEN == "hf_allowed"
    assert hub[0]["as a friend: owner/gated"][:2] == ["owner/gated", repositories["owner/gated"].commits["main"]]


def test_without_the_hub_a_model_comes_from_the_cache_at_the_same_commit(hub):
    answers, _, cache = hub
    again = load_from("http://127.0.0.1:9", cache, "owner/tiny@v1", "owner/other", HF_HUB_OFFLINE="1")
    assert again["owner/tiny@v1"] == answers["owner/tiny@v1"]
    assert again["owner/other"].startswith("owner/other: its configuration cannot be read (")


def test_a_hub_that_cannot_be_reached_leaves_the_size_unknown(monkeypatch):
    def refuse(*_, **__):
        raise HTTPError("connection refused")

    monkeypatch.setattr(huggingface_hub, "get_safetensors_metadata", refuse)
    assert weight_bytes(Source("a/b", "a/b", local=False, revision="main"), "float32") is None


def local(folder):
    return Source("x", str(folder), local=True, revision="r")


def test_weights_are_counted_by_their_headers_in_the_type_they_are_loaded_as(tmp_path):
    tensors = {
        "a": torch.zeros(3, 4),
        "b": torch.zeros(5, dtype=torch.bfloat16),
        "c": torch.zeros(2, dtype=torch.int64),
        "d": torch.zeros((), dtype=torch.float16),
    }
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert weight_bytes(local(tmp_path), "float32") == (12 + 5 + 1) * 4 + 2 * 8
    assert weight_bytes(local(tmp_path), "bfloat16") == (12 + 5 + 1) * 2 + 2 * 8


def test_only_the_part_that_is_loaded_counts_where_a_checkpoint_holds_more(tmp_path):
    tensors = {"thinker.a": torch.zeros(6), "talker.a": torch.zeros(100)}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert weight_bytes(local(tmp_path), "float32", "thinker.") == 6 * 4
    assert weight_bytes(local(tmp_path), "float32", "elsewhere.") == weight_bytes(local(tmp_path), "float32") == 106 * 4


def test_the_count_is_what_the_loaded_model_holds(folder):
    model = load_target(str(folder), device="cpu").model
    assert weight_bytes(local(folder), "float32") == sum(one.nbytes for one in model.parameters())


def test_weights_in_parts_are_counted_once_and_by_their_index(copy_of):
    whole = weight_bytes(local(copy_of), "float32")
    tensors = load_file(copy_of / "model.safetensors")
    parts = [dict(list(tensors.items())[start::2]) for start in (0, 1)]
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for name, part in zip(names, parts, strict=True):
        save_file(part, copy_of / name, metadata={"format": "pt"})
    where = {key: name for name, part in zip(names, parts, strict=True) for key in part}
    (copy_of / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    (copy_of / "model.safetensors").rename(copy_of / "consolidated.safetensors")  # some folders hold both
    assert weight_bytes(local(copy_of), "float32") == whole
    assert load_target(str(copy_of), device="cpu").id == "copy"


@pytest.mark.parametrize("content", [b"", b"\x08", b"\xff" * 64, b"\x02\x00\x00\x00\x00\x00\x00\x00{]"])
def test_a_damaged_file_is_left_to_the_loader(copy_of, content):
    (copy_of / "model.safetensors").write_bytes(content)
    assert not weight_bytes(local(copy_of), "float32")
    with pytest.raises(InputError, match="its weights cannot be loaded"):
        load_target(str(copy_of), device="cpu")


@pytest.fixture
def huge(copy_of):
    """A folder whose weights are announced to have 10^13 numbers; nothing but the header is there to be read."""
    header = json.dumps({"a": {"dtype": "F16", "shape": [10**7, 10**6], "data_offsets": [0, 2 * 10**13]}}).encode()
    (copy_of / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return copy_of


def test_too_little_memory_is_said_with_the_size_needed_and_the_size_free(huge, monkeypatch):
    monkeypatch.setattr(memory, "main_memory", lambda: 3 * 2**30)
    with pytest.raises(InputError) as error:
        load_target(str(huge), device="cpu")
    assert str(error.value) == (
        "copy: its weights need 37252.9 GiB as float32, and 3.0 GiB are free in the main memory; "
        "try a shorter --dtype, or --device-map auto"
    )
    with pytest.raises(InputError, match=r"need 18626\.5 GiB as bfloat16, and 3\.0 GiB are free on this machine"):
        load_target(str(huge), device="cpu", dtype="bfloat16", device_map="auto")


def test_this_machine_says_how_much_memory_is_free_and_refuses_more(huge):
    assert 2**27 < memory.main_memory() < 2**46
    with pytest.raises(InputError, match=r"need 37252\.9 GiB"):
        load_target(str(huge), device="cpu")


def test_a_container_may_use_less_than_its_machine_has(tmp_path, monkeypatch):
    table = tmp_path / "meminfo"
    table.write_text("MemTotal:  9000 kB\nMemAvailable:    8000 kB\n")
    files = [tmp_path / name for name in ("limit", "used", "details")]
    for path, text in zip(files, ("5000000\n", "3000000\n", "active_file 7\ninactive_file 1000000\n"), strict=True):
        path.write_text(text)
    monkeypatch.setattr(memory, "MEMORY", table)
    monkeypatch.setattr(memory, "CONTAINER", [(*map(str, files), "inactive_file")])
    assert memory.main_memory() == 5_000_000 - 3_000_000 + 1_000_000
    files[0].write_text("max\n")
    assert memory.main_memory() == 8000 * 1024
    monkeypatch.setattr(memory, "MEMORY", tmp_path / "elsewhere")
    assert memory.main_memory() is None and memory.free_bytes(CPU) == {}


def test_a_card_and_the_way_to_it_both_have_to_hold_the_weights(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5, 9))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(memory, "main_memory", lambda: 7)
    assert memory.free_bytes(Placement("cuda:0", "bfloat16")) == {"in the main memory": 7, "on cuda:0": 5}
    assert memory.free_bytes(Placement("cuda:0", "bfloat16", device_map="auto")) == {"on this machine": 5 + 5 + 7}
    assert memory.free_bytes(CPU) == {"in the main memory": 7}


def test_the_weights_of_a_part_are_named_as_its_checkpoint_names_them(tmp_path):
    folder = qwen2_5_omni.build(tmp_path / "omni")
    model = load_target(str(folder), device="cpu").model
    part = FAMILIES["qwen2_5_omni"].part
    needed = weight_bytes(local(folder), "float32", part)
    assert needed == sum(one.nbytes for one in model.parameters()) <= weight_bytes(local(folder), "float32")


def test_a_model_that_cannot_be_audited_is_refused_with_the_reason(copy_of):
    for model_type, reason in NOT_AUDITED.items():
        (copy_of / "config.json").write_text(json.dumps({"model_type": model_type}))
        with pytest.raises(InputError) as error:
            load_target(str(copy_of), device="cpu")
        assert str(error.value).endswith(f"models of type {model_type} cannot be audited: {reason}")
    assert "kyutai_speech_to_text" in NOT_AUDITED and "kyutai_speech_to_text" not in FAMILIES


def test_a_processor_without_the_chat_template_it_needs_is_refused(tmp_path):
    folder = canary.build(tmp_path / "canary")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="canary: its processor has no chat template to put audio and prompt into"):
        load_target(str(folder), device="cpu")


@pytest.mark.parametrize("attention", ["nonsense", "someone/kernel"])
def test_an_unknown_attention_implementation_is_refused_with_those_there_are(folder, attention):
    with pytest.raises(InputError, match=f"unknown attention implementation {attention}: choose one of eager, .*sdpa"):
        load_target(str(folder), device="cpu", attention=attention)


def test_attention_that_a_model_or_a_machine_cannot_run_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match=r"tiny: it cannot run with flash_attention_2 attention here \("):
        load_target(str(folder), device="cpu", attention="flash_attention_2")
    other = speech_to_text.build(tmp_path / "other")
    with pytest.raises(InputError, match=r"other: it cannot run with sdpa attention here \(") as error:
        load_target(str(other), device="cpu", attention="sdpa")
    assert "\n" not in str(error.value)


def sounds():
    generator = np.random.default_rng(3)
    return [generator.normal(0, 0.1, length).astype(np.float32) for length in (9_000, 30_000, 16_000)]


def numbers_of(target):
    """What a target writes about three sounds, and what it makes of given texts."""
    prompt = target.prompts["speech"]
    texts = [target.encode(text) for text in ("one", "two words", "a longer text")]
    return [*target.generate(sounds(), prompt, 6), *target.score(sounds(), prompt, texts)]


def largest_difference(one, other):
    assert [a.ids.tolist() for a in one] == [b.ids.tolist() for b in other]
    return max(np.abs(a.numbers - b.numbers).max() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("which", ["folder", "chat_folder"])
def test_eager_and_fused_attention_give_the_same_numbers(which, request):
    path = str(request.getfixturevalue(which))
    one, other = (load_target(path, device="cpu", attention=name) for name in ("eager", "sdpa"))
    assert one.model.config._attn_implementation == "eager" and other.model.config._attn_implementation == "sdpa"
    assert largest_difference(numbers_of(one), numbers_of(other)) < 1e-4


@pytest.mark.parametrize("which", ["folder", "chat_folder"])
def test_a_device_map_changes_no_number(which, request):
    path = str(request.getfixturevalue(which))
    plain, spread = load_target(path, device="cpu"), load_target(path, device="cpu", device_map="auto")
    assert largest_difference(numbers_of(plain), numbers_of(spread)) == 0


@pytest.mark.parametrize("which", ["folder", "chat_folder"])
def test_a_model_in_parts_that_move_their_inputs_gives_the_same_numbers(which, request):
    path = str(request.getfixturevalue(which))
    plain, spread = load_target(path, device="cpu"), load_target(path, device="cpu")
    leaves = [name for name, module in spread.model.named_modules() if not list(module.children())]
    accelerate.dispatch_model(spread.model, dict.fromkeys(leaves, "cpu"), main_device="cpu", force_hooks=True)
    assert sum(hasattr(module, "_hf_hook") for module in spread.model.modules()) >= len(leaves)
    assert largest_difference(numbers_of(plain), numbers_of(spread)) == 0


def test_a_device_map_without_its_package_says_what_to_install(folder, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        targets.importlib.util, "find_spec", lambda name, *rest: None if name == "accelerate" else find(name, *rest)
    )
    with pytest.raises(InputError, match="a device map needs the package accelerate: `pip install accelerate`"):
        load_target(str(folder), device="cpu", device_map="auto")


def test_a_device_map_that_there_is_not_is_refused(folder):
    with pytest.raises(InputError, match="unknown device map balanced: there is only auto"):
        load_target(str(folder), device="cpu", device_map="balanced")
