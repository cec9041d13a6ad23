"""Speech and sound models that run in this process: where they come from, where they run, and how they are seeded."""

from __future__ import annotations

import functools
import gc
import hashlib
import importlib.metadata
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from precompute.clips import InputError
from precompute.conditions.voices.base import EngineFailed, RenderingFailed, Voice, read_options

HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?")
WANTED = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")
"""Files fetched from a hub; weights in other formats are pickles or not for torch."""


class ModelEngine:
    """An `Engine` that holds a model in this process, loaded by its first text.

    Parameters
    ----------
    name : str
        Key of `precompute.conditions.voices.ENGINES`.
    where : str
        Folder, or hub id with ``@revision`` where one is wanted.
    device : str
        ``auto`` or a torch device.
    """

    packages: tuple[str, ...] = ("transformers",)
    """Distributions it needs; the first one's version is part of every cache key."""

    gpu_dtype = "float32"
    """On a GPU; a CPU computes in float32."""

    described_by: str = "config.json"
    """File that says what the model is. Without one, transformers would build the full-size default of its class."""

    unwanted: tuple[str, ...] = ()
    """Of the files in `WANTED`, those that only other programs load."""

    def __init__(self, name: str, where: str, device: str) -> None:
        if not Path(where).expanduser().is_dir() and HUB_ID.fullmatch(where) is None:
            raise EngineFailed(f"{name}: {where!r} is neither a folder nor a hub id of the form owner/name")
        self.name = name
        self.where = where
        self._device = device
        self._loaded: Any = None

    @functools.cached_property
    def device(self) -> str:
        """Torch device it runs on."""
        import torch

        return ("cuda" if torch.cuda.is_available() else "cpu") if self._device == "auto" else self._device

    @property
    def dtype(self) -> str:
        """Name of the torch dtype it computes in."""
        return "float32" if self.device.startswith("cpu") else self.gpu_dtype

    @functools.cached_property
    def folder(self) -> Path:
        """Folder of the model, fetched where it is not here."""
        folder = model_folder(self.name, self.where, self.unwanted)
        if not (folder / self.described_by).is_file():
            raise EngineFailed(f"{self.name}: {self.where} is no model of this kind, it has no {self.described_by}")
        return folder

    @functools.cached_property
    def revision(self) -> str:
        """Commit of a hub model, or hash of a folder's content."""
        return revision_of(self.folder, self.where)

    def identity(self) -> dict[str, str]:
        """Library version, model revision and dtype; see `Engine.identity`."""
        needed = needed_version(self.name, self.packages)
        return {"engine": f"{self.packages[0]} {needed}", "model": self.revision, "dtype": self.dtype}

    def render(self, text: str, voice: Voice) -> tuple[np.ndarray, int]:
        """Load the model if need be and render; see `Engine.render`."""
        import torch

        self.identity()
        if self._loaded is None:
            try:
                self._loaded = self.load()
            except EngineFailed:
                raise
            except broken_model() as error:
                raise EngineFailed(f"{self.name}: {self.where} cannot be loaded ({first_line(error)})") from error
        try:
            with torch.inference_mode(), seeded(voice.seed, self.device):
                return self.rendered(self._loaded, text, voice)
        except (RuntimeError, ValueError, IndexError) as error:
            if isinstance(error, InputError):
                raise
            raise RenderingFailed(f"{self.name} could not render {text[:60]!r} ({first_line(error)})") from error

    def load(self) -> Any:
        """Load what `rendered` needs."""
        raise NotImplementedError

    def rendered(self, loaded: Any, text: str, voice: Voice) -> tuple[np.ndarray, int]:
        """Render with torch's random state seeded."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the model and give its GPU memory back."""
        if self._loaded is None:
            return
        import torch

        self._loaded = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def load_whole(engine: ModelEngine, class_name: str) -> tuple[Any, Any]:
    """Load a speech model of transformers and its processor, and check that no weight was made up.

    Parameters
    ----------
    engine : ModelEngine
        Says where, on which device and in which dtype.
    class_name : str
        transformers' class.

    Returns
    -------
    tuple of (PreTrainedModel, ProcessorMixin)

    Raises
    ------
    EngineFailed
        If weights are missing.
    """
    import torch
    import transformers

    from precompute.targets.loading import quiet_loading

    with quiet_loading():
        processor = transformers.AutoProcessor.from_pretrained(engine.folder, local_files_only=True)
        model, report = getattr(transformers, class_name).from_pretrained(
            engine.folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=getattr(torch, engine.dtype),
            output_loading_info=True,
        )
    missing = sorted(report["missing_keys"])
    if missing:
        raise EngineFailed(
            f"{engine.name}: the weights in {engine.where} lack {len(missing)} tensors, such as {missing[0]}"
        )
    return model.to(engine.device).eval(), processor


def broken_model() -> tuple[type[Exception], ...]:
    """List what libraries raise for a model that is damaged or of another kind."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    own = (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, ImportError)
    return (*own, SafetensorError, StrictDataclassError)


def model_folder(name: str, where: str, unwanted: Sequence[str] = ()) -> Path:
    """Find a model on this machine, or fetch it from the hub.

    Parameters
    ----------
    name : str
        Of the engine, for messages.
    where : str
        Folder, or hub id with ``@revision`` where one is wanted.
    unwanted : sequence of str
        Globs of files not to fetch.

    Returns
    -------
    Path

    Raises
    ------
    EngineFailed
        If there is no such model, it cannot be reached, or it has no safetensors weights.
    """
    folder = Path(where).expanduser()
    if not folder.is_dir():
        folder = _fetched(name, where, unwanted)
    if next(folder.rglob("*.safetensors"), None) is None:
        raise EngineFailed(f"{name}: {where} holds no weights in the safetensors format, and no other is loaded")
    return folder


def _fetched(name: str, where: str, unwanted: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    match = HUB_ID.fullmatch(where)
    if match is None:
        raise EngineFailed(f"{name}: {where!r} is neither a folder nor a hub id of the form owner/name")
    try:
        return Path(
            snapshot_download(
                match[1], revision=match[2], allow_patterns=list(WANTED), ignore_patterns=list(unwanted) or None
            )
        )
    except GatedRepoError as error:
        raise EngineFailed(
            f"{name}: {match[1]} is gated; ask for access on its page and log in with `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise EngineFailed(f"{name}: there is no folder and no hub model named {match[1]}") from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise EngineFailed(f"{name}: {where} cannot be fetched ({first_line(error)})") from error


def revision_of(folder: Path, where: str) -> str:
    """Commit of a model fetched from the hub, whose folder bears its name; hash of the content of any other folder."""
    return folder_content(folder) if Path(where).expanduser().is_dir() else folder.name


def folder_content(folder: Path) -> str:
    """Name the content of a folder and all below it.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    str
        First 16 hexadecimal digits of SHA-256 over names and contents; hidden files do not count.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        within = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in within.parts):
            with path.open("rb") as file:
                digest.update(f"{within.as_posix()} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def needed_version(name: str, packages: Sequence[str]) -> str:
    """Version of the first of the packages an engine needs; `EngineFailed` where one is not installed."""
    try:
        versions = [importlib.metadata.version(package) for package in packages]
    except importlib.metadata.PackageNotFoundError as error:
        raise EngineFailed(
            f"{name} needs the package {error.name}, which is not installed: `pip install {' '.join(packages)}`"
        ) from error
    return versions[0]


@contextmanager
def seeded(seed: int, device: str) -> Iterator[None]:
    """Seed torch for a while; afterwards its random state is what it was."""
    import torch

    place = torch.device(device)
    gpus = [place.index or 0] if place.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seed)
        yield


def refuse_special(name: str, text: str, tokenizer: Any) -> str:
    """Join a text's lines; `InputError` where it spells out a token that steers the model."""
    plain = " ".join(text.split())
    special = [token for token in tokenizer.all_special_tokens if token in plain]
    if special:
        raise InputError(f"{name} cannot speak a text with {special[0]} in it, which steers the model")
    return plain


def first_line(error: BaseException) -> str:
    """Start of an error message, for use inside a sentence."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")[:200]


def checked_options(name: str, options: tuple[str, ...]) -> dict[str, str]:
    """Options of an engine in `precompute.conditions.voices.ENGINES`; see `read_options`."""
    from precompute.conditions.voices.studio import ENGINES

    return read_options(name, options, ENGINES[name].options)
