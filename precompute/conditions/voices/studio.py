"""Engines opened so far: each is opened on first use, once, shared by all who hold the studio, and closed with it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import numpy as np

from precompute.clips import SAMPLE_RATE, InputError, resample
from precompute.conditions.voices.base import Engine, EngineFailed, Kind, RenderingFailed, Voice, derived_seed

ENGINES: dict[str, Kind] = {
    "espeak-ng": Kind(
        "precompute.conditions.voices.espeak_ng",
        "text",
        "",
        "formant synthesis in about a hundred languages, embedded",
        parallel=True,
    ),
    "flite": Kind(
        "precompute.conditions.voices.flite", "text", "", "statistical synthesis of English, embedded", parallel=True
    ),
    "cosyvoice": Kind(
        "precompute.conditions.voices.cosyvoice",
        "text",
        "URL",
        "CosyVoice2 behind its own FastAPI server, e.g. http://127.0.0.1:50000; #NAME after it names the model",
        clones=True,
    ),
    "cosyvoice-process": Kind(
        "precompute.conditions.voices.cosyvoice_process",
        "text",
        "PYTHON",
        "CosyVoice2 in an environment of its own, run by that environment's Python",
        clones=True,
        options={"repo": "", "model": "iic/CosyVoice2-0.5B"},
    ),
    "pocket-tts": Kind(
        "precompute.conditions.voices.pocket_tts", "text", "DIR|HUB_ID", "Pocket TTS, runs on a CPU", clones=True
    ),
    "vibevoice": Kind(
        "precompute.conditions.voices.vibevoice", "text", "DIR|HUB_ID", "VibeVoice; needs diffusers", clones=True
    ),
    "rendered": Kind(
        "precompute.conditions.voices.captions",
        "caption",
        "",
        "embedded synthetic sound scenes and instrument notes",
        parallel=True,
    ),
    "tangoflux": Kind(
        "precompute.conditions.voices.tangoflux",
        "caption",
        "PYTHON",
        "TangoFlux in an environment of its own, run by that environment's Python",
        options={"model": "declare-lab/TangoFlux", "seconds": "10", "steps": "50", "guidance": "4.5"},
    ),
    "stable-audio": Kind(
        "precompute.conditions.voices.stable_audio",
        "caption",
        "DIR|HUB_ID",
        "Stable Audio Open; needs diffusers and torchsde",
        options={"seconds": "10", "steps": "100", "guidance": "7"},
    ),
}
"""Every engine by name; none of them is imported here."""

PROBES = {"text": "This is a short test of the voice.", "caption": "A dog barks."}
"""Rendered after a failure, to tell a text that cannot be rendered from an engine that cannot render."""


def open_engine(voice: Voice, device: str) -> Engine:
    """Open the engine of a voice; `InputError` where there is no such engine or its place or options are wrong."""
    if voice.engine not in ENGINES:
        raise InputError(f"there is no voice engine {voice.engine!r}; there are {', '.join(ENGINES)}")
    module = importlib.import_module(ENGINES[voice.engine].module)
    engine: Engine = module.open_engine(voice.where, voice.options, device)
    return engine


class Studio:
    """Where texts are spoken and captions rendered. Use it in a ``with`` statement.

    Engines that render one text at a time take turns, whichever thread asks; a failed engine is not tried again.

    Parameters
    ----------
    device : str
        ``auto`` (CUDA where there is one, else the CPU) or a torch device, for models in this process.
    """

    def __init__(self, device: str = "auto") -> None:
        self.device = device
        self._engines: dict[tuple[str, str, tuple[str, ...]], Engine] = {}
        self._failed: dict[tuple[str, str, tuple[str, ...]], EngineFailed] = {}
        self._opening = threading.Lock()
        self._turn = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every engine; one that cannot be closed does not keep the others open."""
        with contextlib.ExitStack() as stack:
            for engine in self._engines.values():
                stack.callback(engine.close)
            self._engines.clear()

    def speak(self, text: str, voice: Voice) -> np.ndarray:
        """Speak a text, or render a caption.

        The seed that an engine gets comes from the voice's seed and the text: equal texts give equal samples, so
        that nothing of a clip but its text reaches them, and different texts share no noise.

        Parameters
        ----------
        text : str
        voice : Voice

        Returns
        -------
        np.ndarray [shape=(n,)], float32
            Mono at `SAMPLE_RATE`, at the level the engine gives.

        Raises
        ------
        InputError
            If this one text cannot be rendered.
        EngineFailed
            If the engine cannot render anything; from then on at once.
        """
        engine = self._engine(voice)
        if not text.strip():
            raise InputError(f"{voice.engine}: there is no word in the text {text[:60]!r}, so it wrote no audio")
        seeded = dataclasses.replace(voice, seed=derived_seed(voice.seed, text))
        with contextlib.nullcontext() if ENGINES[voice.engine].parallel else self._turn, self._noting_failure(voice):
            self._raise_failure(voice)  # it may have failed while this thread waited
            samples, rate = _rendered(engine, text, seeded)
        if not len(samples) or not np.isfinite(samples).all():
            raise InputError(f"{voice.engine} wrote no audio for the text {text[:60]!r}")
        return resample(samples, rate, SAMPLE_RATE)

    def recipe(self, text: str, voice: Voice) -> dict[str, object]:
        """Name all that determines what `speak` returns, without rendering anything.

        Parameters
        ----------
        text : str
        voice : Voice

        Returns
        -------
        dict of str to str or int
            Text, voice, engine version; and where there is one, model revision, reference and seed.
        """
        parts: dict[str, object] = {"text": text, "voice": str(voice), **self.identity(voice)}
        if voice.reference is not None:
            parts |= {"reference": voice.reference.content, "reference_text": voice.reference.text}
        if voice.seed:
            parts["seed"] = voice.seed
        return parts

    def identity(self, voice: Voice) -> dict[str, str]:
        """Version of a voice's engine and revision of its model; see `Engine.identity`."""
        engine = self._engine(voice)
        with self._noting_failure(voice):
            return engine.identity()

    def _engine(self, voice: Voice) -> Engine:
        """Open a voice's engine, or take the open one."""
        key = _key(voice)
        with self._opening:
            self._raise_failure(voice)
            if key not in self._engines:
                with self._noting_failure(voice):
                    self._engines[key] = open_engine(voice, self.device)
            return self._engines[key]

    def _raise_failure(self, voice: Voice) -> None:
        if _key(voice) in self._failed:
            raise self._failed[_key(voice)]

    @contextlib.contextmanager
    def _noting_failure(self, voice: Voice) -> Iterator[None]:
        try:
            yield
        except EngineFailed as error:
            self._failed[_key(voice)] = error
            raise


def _rendered(engine: Engine, text: str, voice: Voice) -> tuple[np.ndarray, int]:
    """Render a text; where that fails, find out whether the engine still works."""
    try:
        return engine.render(text, voice)
    except RenderingFailed as failure:
        try:
            engine.render(PROBES[ENGINES[voice.engine].reads], voice)
        except RenderingFailed as again:
            raise EngineFailed(
                f"{voice.engine} renders nothing, not even a short test ({again}); what was rendered is kept, and "
                "the same command goes on once it does"
            ) from failure
        raise


def _key(voice: Voice) -> tuple[str, str, tuple[str, ...]]:
    """Tell engines apart; the options of a program belong to the voice, not to the program."""
    return (voice.engine, voice.where, voice.options if ENGINES.get(voice.engine, _NONE).options else ())


_NONE = Kind("", "", "", "")
