"""Where a target comes from and how its weights and its processor are loaded, or why they cannot be.

torch and transformers are imported inside functions, so that naming a target costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from precompute.clips import InputError

AUDIO_PARTS = ("feature_extractor", "audio_processor")
"""What processors call the part that turns samples into features."""

SMALL = 50_000_000
"""Models with fewer parameters run on one CPU thread. On two idle cores a second thread gains about 40% (350 against
250 scored texts a second), but where another process wants the cores the threads wait for each other by spinning,
and 14 to 30 a second were seen: steady was preferred to fast. Further cores take further batches instead; see
`precompute.targets.base.ChatTarget.side_by_side`."""


@dataclass(frozen=True)
class Source:
    """Where a target is loaded from.

    Parameters
    ----------
    id : str
        Name for people and cache keys.
    location : str
        Folder or hub id.
    local : bool
        Whether `location` is a folder; then nothing is looked for elsewhere.
    revision : str
        Hub commit, or hash of the folder.
    """

    id: str
    location: str
    local: bool
    revision: str

    @property
    def where(self) -> dict[str, Any]:
        """Arguments of transformers' ``from_pretrained``: a folder is never looked for elsewhere."""
        return {"local_files_only": True} if self.local else {"revision": self.revision}


@dataclass(frozen=True)
class Placement:
    """Where and how a target's weights are laid out.

    Parameters
    ----------
    device : str
        A torch device.
    dtype : str
        Name of a torch dtype.
    attention : str or None
        One of transformers' attention implementations (``eager``, ``sdpa``, ``flash_attention_2``); None takes the
        model's default.
    device_map : str or None
        ``auto`` spreads a model larger than one device over all of them, the CPU last; None puts it on `device`.
    """

    device: str
    dtype: str
    attention: str | None = None
    device_map: str | None = None


def load_model(source: Source, placement: Placement, auto_class: str, **settings: Any) -> Any:
    """Load a model through one of transformers' auto classes, and check that it is whole.

    Parameters
    ----------
    source : Source
    placement : Placement
    auto_class : str
        The auto class that lists the family.
    settings
        Further arguments of ``from_pretrained``.

    Returns
    -------
    PreTrainedModel
        In evaluation mode, on its device or devices; its logits are float32 whatever the type of its weights.

    Raises
    ------
    InputError
        If weights are missing, cannot be read, or need more memory than there is, which is then named; or if no float32
        logits can be had of its head.
    """
    import torch
    import transformers
    from huggingface_hub.errors import HTTPError, StrictDataclassError
    from safetensors import SafetensorError

    from precompute.targets.adapters import has_adapter
    from precompute.targets.head import float32_head

    has_adapter(source)  # refuses what transformers would leave out in silence
    spread = {} if placement.device_map is None else {"device_map": placement.device_map}
    attention = {} if placement.attention is None else {"attn_implementation": placement.attention}
    dtype = getattr(torch, placement.dtype)
    problems = (OSError, HTTPError, ValueError, RuntimeError, ImportError, SafetensorError, StrictDataclassError)
    try:
        with quiet_loading():
            model, report = getattr(transformers, auto_class).from_pretrained(
                source.location,
                dtype=dtype,
                use_safetensors=True,  # the other format is a pickle
                output_loading_info=True,
                **source.where,
                **spread,
                **attention,
                **settings,
            )
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise InputError(f"{source.id}: its weights need more memory than this machine has") from error
    except problems as error:
        problem = "its weights cannot be loaded"
        if placement.attention is not None and "attention" in str(error).lower():
            problem = f"it cannot run with {placement.attention} attention here"
        raise InputError(f"{source.id}: {problem} ({first_line(error)})") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise InputError(f"{source.id}: its weights lack {len(missing)} tensors, {missing[0]} among them")
    if placement.dtype != "float32":
        float32_head(model, source.id)
    if placement.device == "cpu" and is_small(model):
        torch.set_num_threads(1)
    if placement.device_map is not None:
        return model.eval()
    try:
        return model.to(placement.device).eval()
    except torch.OutOfMemoryError as error:
        size = sum(one.nbytes for one in model.parameters()) / 2**30
        raise InputError(
            f"{source.id}: its weights need {size:.1f} GiB, more than is free on {placement.device}; "
            "try --dtype bfloat16 or --device-map auto"
        ) from error


def is_small(model: Any) -> bool:
    """Say whether a model is so small that, on a CPU, one thread runs it fastest."""
    return bool(model.device.type == "cpu" and model.num_parameters() < SMALL)


def load_processor(source: Source, chat: bool = True, read: Callable[[Source], Any] | None = None) -> Any:
    """Load a model's processor, and check that it is whole.

    Parameters
    ----------
    source : Source
    chat : bool
        Whether a chat template is needed.
    read : callable or None
        How to read it; None is by transformers' ``AutoProcessor``.

    Returns
    -------
    ProcessorMixin

    Raises
    ------
    InputError
        If it, or its chat template, is missing.
    """
    import transformers
    from huggingface_hub.errors import HTTPError, StrictDataclassError

    problems = (OSError, HTTPError, ValueError, TypeError, AttributeError, ImportError, KeyError, StrictDataclassError)
    try:
        if read is None:
            processor = transformers.AutoProcessor.from_pretrained(source.location, **source.where)
        else:
            processor = read(source)
    except problems as error:
        raise InputError(f"{source.id}: its audio processor is missing or incomplete ({first_line(error)})") from error
    audio = next((name for name in AUDIO_PARTS if getattr(processor, name, None) is not None), None)
    if not hasattr(processor, "tokenizer") or audio is None:
        raise InputError(f"{source.id}: it comes without an audio processor (preprocessor or processor config)")
    if chat and not getattr(processor, "chat_template", None):
        raise InputError(f"{source.id}: its processor has no chat template to put audio and prompt into")
    return processor


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Hide transformers' own progress bars and reports on weights: the audit has a bar, and checks what is missing."""
    from transformers.utils import logging

    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()


def first_line(error: BaseException) -> str:
    """Start of an error message, for use inside a sentence."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")[:200]
