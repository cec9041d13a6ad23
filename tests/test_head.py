"""Float32 logits of half weights: the stated bound holds, on real classes too, and a head of a half type breaks it."""

import importlib
from types import SimpleNamespace

import accelerate
import numpy as np
import pytest
import torch
from peft import LoraConfig
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel

from precompute.bench import chosen, precision
from precompute.bench.figures import Part
from precompute.bench.scoring import TARGET, choose
from precompute.clips import InputError
from precompute.indicators import STATISTICS, TokenStats
from precompute.scores import Plan
from precompute.targets import head as head_module
from precompute.targets import load_target
from precompute.targets.head import float32_head, float32_logits, logit_bound
from tests.test_families import SOUNDS

HALVES = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}
"""Largest relative error of rounding to a half type."""
TIED = "moonshine"
READ = ["audioflamingo3", "qwen2_audio", "whisper", TIED, "cohere_asr"]
"""A decoder-only model, one whose adapter calls the head itself, encoder-decoders, and a head with a bias."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Model folders by model type, each built when it is first asked for."""
    built = {}

    def folder(model_type):
        if model_type not in built:
            builder = importlib.import_module(f"tests.tiny_families.{model_type}")
            built[model_type] = str(builder.build(tmp_path_factory.mktemp(model_type) / "tiny"))
        return built[model_type]

    return folder


def made(dtype, width, bias=False, vocabulary=50, rows=40):
    """A head and hidden states of a half type, with logits up to about 30."""
    torch.manual_seed(width)
    head = torch.nn.Linear(width, vocabulary, bias=bias)
    head.weight.data.normal_(0, 8 / width**0.5)
    return head.to(dtype), torch.randn(rows, width).to(dtype)


def exact(head, hidden):
    bias = 0 if head.bias is None else head.bias.double()
    return hidden.double() @ head.weight.double().T + bias


def inside(logits, head, hidden):
    """Share of the logits within the bound."""
    return ((logits.double() - exact(head, hidden)).abs() <= logit_bound(head, hidden)).double().mean().item()


def seen_by(module):
    """Lists that fill with what a module reads and gives, from now on."""
    read, given = [], []

    def note(_module, inputs, output):
        read.append(inputs[0])
        given.append(output)

    module.register_forward_hook(note)
    return read, given


def numbers_of(target):
    prompt = target.prompts["speech"]
    texts = [target.encode(text) for text in ("one", "two words", "a longer text")]
    return [*target.generate(SOUNDS[:3], prompt, 5), *target.score(SOUNDS[:3], prompt, texts)]


def same(one, other):
    return all(
        a.ids.tolist() == b.ids.tolist() and np.array_equal(a.numbers, b.numbers)
        for a, b in zip(one, other, strict=True)
    )


def test_a_logit_between_two_bfloat16_numbers_is_not_rounded():
    # 16.0625 lies halfway between 16 and 16.125; the bound is that of two additions.
    head = torch.nn.Linear(2, 1, bias=False).bfloat16()
    head.weight.data = torch.tensor([[16.0, -0.0625]], dtype=torch.bfloat16)
    hidden = torch.tensor([[1.0, -1.0]], dtype=torch.bfloat16)
    with torch.inference_mode():
        assert head(hidden).item() == 16.0
        assert float32_logits(head, hidden).item() == 16.0625
        assert logit_bound(head, hidden).item() == pytest.approx(2 * 2**-24 / (1 - 2 * 2**-24) * 16.0625, rel=1e-12)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("width", "bias"), [(1, False), (7, True), (160, False), (1000, True)])
def test_float32_logits_are_within_the_bound_of_exact_products(dtype, width, bias):
    head, hidden = made(dtype, width, bias)
    with torch.inference_mode():
        logits = float32_logits(head, hidden)
        assert logits.dtype == torch.float32 and inside(logits, head, hidden) == 1
        own, error = head(hidden), (logits.double() - exact(head, hidden)).abs()
        off = (own.double() - exact(head, hidden)).abs()
    assert off.max() > 100 * error.max()
    if dtype == torch.bfloat16 and width <= 160:  # for more terms the worst case is as wide as a half type is coarse
        assert inside(own, head, hidden) < 0.2
    # A bias is added after rounding by some libraries and before it by others, so twice.
    assert (off <= 2 * HALVES[dtype] * (exact(head, hidden).abs() + 4) + logit_bound(head, hidden)).all()


@pytest.mark.parametrize("dtype", HALVES)
def test_log_probabilities_are_within_twice_the_largest_bound(dtype):
    head, hidden = made(dtype, 160, vocabulary=1000)
    with torch.inference_mode():
        bound = 2 * logit_bound(head, hidden).amax(-1)
        log_p = exact(head, hidden).log_softmax(-1)
        off = (float32_logits(head, hidden).double().log_softmax(-1) - log_p).abs().amax(-1)
        own = (head(hidden).double().log_softmax(-1) - log_p).abs().amax(-1)
    assert (off <= bound).all()
    assert dtype == torch.float16 or (own > bound).all()


def test_any_shape_is_multiplied_row_by_row():
    head, hidden = made(torch.bfloat16, 16, bias=True)
    with torch.inference_mode():
        flat = float32_logits(head, hidden)
        assert torch.equal(float32_logits(head, hidden.reshape(4, 10, 16)), flat.reshape(4, 10, -1))
        assert float32_logits(head, hidden[:0]).shape == (0, 50)
        assert float32_logits(head, hidden[:0, None]).shape == (0, 1, 50)


class Copies(TorchDispatchMode):
    """Notes the size of the largest tensor that is taken from a half type to float32."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if "to" in str(func) and args[0].dtype in HALVES and result.dtype == torch.float32:
            self.largest = max(self.largest, result.numel())
        return result


@pytest.mark.parametrize("at_once", [1, 64, 100, 10**6])
def test_the_weights_are_never_in_float32_all_at_once(monkeypatch, at_once):
    head, hidden = made(torch.bfloat16, 16, vocabulary=101, rows=2)
    monkeypatch.setattr(head_module, "WEIGHTS_AT_ONCE", at_once)
    with torch.inference_mode(), Copies() as copies:
        logits = float32_logits(head, hidden)
    assert inside(logits, head, hidden) == 1
    assert copies.largest <= max(at_once, hidden.numel())
    assert copies.largest >= min(at_once // 16 * 16, 101 * 16)


def test_on_cuda_one_product_gives_float32():
    # Without a GPU only types and shapes can be had: torch knows them of tensors that have no numbers.
    with FakeTensorMode(), torch.inference_mode(), torch.device("cuda"):
        head = SimpleNamespace(weight=torch.empty(5, 8).bfloat16(), bias=torch.empty(5).bfloat16())
        products = []

        class Noted(TorchDispatchMode):
            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                products.extend([func] if "mm" in str(func) else [])
                return func(*args, **(kwargs or {}))

        hidden = torch.empty(2, 3, 8).bfloat16()
        with Noted():
            logits = float32_logits(head, hidden)
    assert hidden.is_cuda and (logits.dtype, tuple(logits.shape)) == (torch.float32, (2, 3, 5))
    assert products == [torch.ops.aten.mm.dtype]


@pytest.mark.parametrize("model_type", READ)
def test_a_target_of_half_weights_has_float32_logits_within_the_bound(folders, model_type):
    target = load_target(folders(model_type), device="cpu", dtype="bfloat16")
    head = target.model.get_output_embeddings()
    assert target.dtype == "bfloat16" and head.weight.dtype == torch.bfloat16
    if head.bias is not None:
        head.bias.data.normal_(0, 3)
    read, given = seen_by(head)
    assert len(numbers_of(target)) == 6
    assert read
    with torch.inference_mode():
        for hidden, logits in zip(read, given, strict=True):
            assert hidden.dtype == torch.bfloat16 and logits.dtype == torch.float32
            assert inside(logits, head, hidden) == 1
            assert inside(torch.nn.functional.linear(hidden, head.weight, head.bias), head, hidden) < 0.5


def test_some_head_has_a_bias_and_some_is_tied(folders):
    assert load_target(folders("cohere_asr"), device="cpu", dtype="bfloat16").model.proj_out.bias is not None
    model = load_target(folders(TIED), device="cpu", dtype="bfloat16").model
    embedding = model.get_decoder().get_input_embeddings()
    assert model.get_output_embeddings().weight is embedding.weight
    assert embedding(torch.tensor([1])).dtype == torch.bfloat16


def test_capped_logits_are_capped_in_float32(folders):
    target = load_target(folders("gemma4"), device="cpu", dtype="bfloat16")
    cap = target.model.config.get_text_config().final_logit_softcapping
    head = target.model.get_output_embeddings()
    read, _ = seen_by(head)
    logits = target.prefill(SOUNDS[:2], target.prompts["speech"]).logits
    with torch.inference_mode():
        hidden = read[-1].flatten(0, -2)
        capped = cap * torch.tanh(exact(head, hidden) / cap)
        room = logit_bound(head, hidden) + 8 * 2.0**-24 * cap  # a quotient, a tanh and a product more
    assert cap and logits.dtype == torch.float32
    assert ((logits.double() - capped).abs() <= room).all()


@pytest.mark.parametrize("model_type", ["audioflamingo3", "cohere_asr"])
def test_float32_targets_are_left_alone(folders, model_type):
    target = load_target(folders(model_type), device="cpu")
    head = target.model.get_output_embeddings()
    assert "forward" not in vars(head)
    read, given = seen_by(head)
    numbers_of(target)
    with torch.inference_mode():
        for hidden, logits in zip(read, given, strict=True):
            assert torch.equal(logits, torch.nn.functional.linear(hidden, head.weight, head.bias))
    before = dict(vars(head))
    float32_head(target.model, "some")
    assert vars(head) == before


@pytest.mark.parametrize("model_type", ["audioflamingo3", TIED])
def test_a_device_map_changes_no_number_of_half_weights(folders, model_type):
    one, other = (
        load_target(folders(model_type), device="cpu", dtype="bfloat16", device_map=spread) for spread in (None, "auto")
    )
    assert same(numbers_of(one), numbers_of(other))


def spread_after(model):
    """Hooks on every module, put there after the head was changed."""
    float32_head(model, "some")
    leaves = [name for name, module in model.named_modules() if not list(module.children())]
    accelerate.dispatch_model(model, dict.fromkeys(leaves, "cpu"), main_device="cpu", force_hooks=True)


def spread_before(model):
    """Hooks on every module, which were there before."""
    leaves = [name for name, module in model.named_modules() if not list(module.children())]
    accelerate.dispatch_model(model, dict.fromkeys(leaves, "cpu"), main_device="cpu", force_hooks=True)
    float32_head(model, "some")


def elsewhere(model):
    """Weights that lie elsewhere until they are needed."""
    accelerate.cpu_offload(model, execution_device=torch.device("cpu"))
    assert model.get_output_embeddings().weight.device.type == "meta"
    float32_head(model, "some")


@pytest.mark.parametrize("placed", [spread_after, spread_before, elsewhere])
def test_hooks_that_move_weights_and_inputs_change_no_logit(folders, placed):
    plain, other = (
        AutoModelForSeq2SeqLM.from_pretrained(folders("audioflamingo3"), dtype=torch.bfloat16).eval() for _ in range(2)
    )
    ids = torch.arange(1, 7)[None]
    float32_head(plain, "some")
    placed(other)
    with torch.inference_mode():
        wanted, found = plain(input_ids=ids).logits, other(input_ids=ids).logits
    assert hasattr(other.get_output_embeddings(), "_hf_hook")
    assert found.dtype == torch.float32 and torch.equal(wanted, found)


@pytest.mark.parametrize("adapter_dtype", [torch.float32, torch.bfloat16])
def test_an_adapter_on_the_head_is_added_in_float32(folders, tmp_path, adapter_dtype):
    model = AutoModelForSeq2SeqLM.from_pretrained(folders("audioflamingo3"), dtype=torch.bfloat16).eval()
    model.add_adapter(LoraConfig(r=2, target_modules=["lm_head"]))
    head = model.get_output_embeddings()
    for part in (head.lora_A["default"], head.lora_B["default"]):
        part.to(adapter_dtype).weight.data.normal_(0, 0.3)
    hidden = torch.randn(5, head.in_features).bfloat16()
    float32_head(model, "some")
    with torch.inference_mode():
        inner = hidden.double() @ head.lora_A["default"].weight.double().T
        added = inner @ head.lora_B["default"].weight.double().T * head.scaling["default"]
        found = head(hidden)
        off = (found.double() - exact(head.base_layer, hidden) - added).abs()
    assert added.abs().max() > 0.1 and found.dtype == torch.float32
    assert off.max() < 1e-5 * (1 + exact(head.base_layer, hidden).abs().max())


def test_a_folder_with_an_adapter_on_the_head_is_loaded_with_float32_logits(folders, tmp_path):
    path = tmp_path / "adapted"
    bare = load_target(folders("audioflamingo3"), device="cpu", dtype="bfloat16")
    model = AutoModelForSeq2SeqLM.from_pretrained(folders("audioflamingo3"))
    model.save_pretrained(path)
    bare.processor.save_pretrained(path)
    model.add_adapter(LoraConfig(r=2, target_modules=["lm_head"]))
    model.get_output_embeddings().lora_B["default"].weight.data.normal_(0, 0.3)
    PreTrainedModel.save_pretrained(model, str(path))
    target = load_target(str(path), device="cpu", dtype="bfloat16")
    prompt = target.prompts["speech"]
    adapted, plain = (one.prefill(SOUNDS[:2], prompt).logits for one in (target, bare))
    assert adapted.dtype == torch.float32 and target.dtype == "bfloat16"
    assert (adapted - plain).abs().max() > 0.1


def test_a_head_that_is_no_plain_matrix_is_refused():
    head = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.LayerNorm(4)).bfloat16()
    with pytest.raises(InputError, match=r"some: its output head has a LayerNorm .* try --dtype float32"):
        float32_head(SimpleNamespace(get_output_embeddings=lambda: head), "some")
    packed = torch.nn.Linear(4, 4)
    packed.weight = torch.nn.Parameter(torch.zeros(8, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(InputError, match="some: its output head has a Linear of a type shorter"):
        float32_head(SimpleNamespace(get_output_embeddings=lambda: packed), "some")


def test_the_bound_holds_on_a_trained_target_and_not_for_its_own_head():
    target = load_target(TARGET, device="cpu", dtype="bfloat16")
    part = Part("", "")
    precision.add_head(part, target, choose(4), Plan(("original",)))
    found = {one.what: one.value for one in part.figures}
    assert found["float32 head: logits outside the bound"] == 0
    assert found["bfloat16 head: logits outside the bound"] > 0.5
    bound = found["float32 head: bound on it, 2 x the largest of the vocabulary, maximum"]
    assert found["float32 head: error of a log-probability, maximum"] <= bound < 1e-3
    largest = found["size of a logit, maximum"]
    assert largest > 10 and found["bfloat16 head: error of a logit, maximum"] <= 2.0**-8 * largest + bound


def scored_row(text, logprob, nll, ids=(1, 2)):
    numbers = np.zeros((2, len(STATISTICS)), dtype=np.float32)
    numbers[:, list(STATISTICS).index("logprob")] = logprob
    row = {"clip_id": "a", "condition": "original", "realization": 0, "scored_text": text, "nll": nll}
    return row, TokenStats.from_numbers(np.array(ids), numbers, ("x", "y"), "xy")


def test_changes_of_given_texts_and_texts_written_alike_worked_by_hand():
    plain = [scored_row("reference", [-1.0, -2.0], 1.5), scored_row("generated", [-9.0, -9.0], 9.0)]
    other = [scored_row("generated", [0.0, 0.0], 0.0, ids=(1, 3)), scored_row("reference", [-1.5, -2.25], 1.875)]
    part = Part("", "")
    precision.add_texts(part, "half", plain, other)
    assert [(one.what, one.value, one.n) for one in part.figures] == [
        ("half: change of a given token's log-probability, median", pytest.approx(0.375), "2"),
        ("half: change of a given token's log-probability, maximum", pytest.approx(0.5), "2"),
        ("half: change of a given text's mean NLL, median", pytest.approx(0.375), "1"),
        ("half: change of a given text's mean NLL, maximum", pytest.approx(0.375), "1"),
        ("half: texts written alike", 0.0, "1"),
    ]


def test_precision_is_measured_by_default():
    assert "precision" in chosen(None, quick=True)
