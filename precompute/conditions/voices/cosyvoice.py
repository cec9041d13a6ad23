"""CosyVoice2 behind the FastAPI server of its own repository.

Protocol of runtime/python/fastapi/server.py in FunAudioLLM/CosyVoice (commit ace7c47): POST of a form with `tts_text`,
`prompt_text` and the file `prompt_wav` to /inference_zero_shot, or without `prompt_text` to /inference_cross_lingual;
the answer is raw 16-bit little-endian mono at 24 kHz, without a header (the repository's client.py assumes 22.05 kHz,
the rate of an older model). The server takes no seed, so that the same request sounds different each time: the three
realizations differ by their reference voices, and it is the store that lets every target hear the same samples.
As read, though not run: that commit's server hands a tensor to a function that now takes a file's path. Where it
answers every text with an error, its `inference_zero_shot` has to write the upload into a file first.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import numpy as np

from precompute.clips import InputError
from precompute.conditions.voices.base import EngineFailed, Reference, RenderingFailed, Voice, read_options
from precompute.conditions.voices.references import borrowed, wav_bytes

RATE = 24_000
"""Rate in Hz of what CosyVoice2 and 3 speak; the protocol does not state it."""

LOWEST_RATE = 16_000
"""Of a reference, in Hz: the server refuses less."""

TIMEOUT_SECONDS = 600.0


class CosyVoiceServer:
    """An `Engine` behind a running server.

    Parameters
    ----------
    address : str
        Without a path, for instance ``http://127.0.0.1:50000``.
    model : str
        What the user says runs there; the server does not tell.
    """

    def __init__(self, address: str, model: str) -> None:
        import httpx

        self.address = address
        self.model = model
        self._client = httpx.Client(base_url=address, timeout=httpx.Timeout(TIMEOUT_SECONDS, connect=10.0))
        self._checked = False

    def identity(self) -> dict[str, str]:
        """Name the server and the model the user says it runs; see `Engine.identity`.

        The server is not asked: what was rendered before can be used while it is off.
        """
        return {"engine": "CosyVoice server", "model": self.model or self.address}

    def render(self, text: str, voice: Voice) -> tuple[np.ndarray, int]:
        """Ask the server to speak; see `Engine.render`."""
        if voice.reference is None:
            raise EngineFailed("cosyvoice borrows a voice: name reference voices with --reference-voices")
        if not self._checked:
            self._check()
            self._checked = True
        return self._spoken(text, voice.reference), RATE

    def close(self) -> None:
        """Close the connection; the server runs on."""
        self._client.close()

    def _check(self) -> None:
        """Ask for the server's own description, which FastAPI gives without touching the model."""
        import httpx

        try:
            answer = self._client.get("/openapi.json")
            known = answer.json().get("paths", {}) if answer.status_code == 200 else {}
        except (httpx.HTTPError, ValueError, AttributeError) as error:
            raise self._unreachable(error) from error
        if "/inference_zero_shot" not in known:
            raise EngineFailed(f"what answers at {self.address} is no CosyVoice server: it has no /inference_zero_shot")

    def _spoken(self, text: str, reference: Reference) -> np.ndarray:
        """Speak once."""
        import httpx

        form: dict[str, Any] = {"tts_text": text}
        path = "/inference_cross_lingual"
        if reference.text:
            form["prompt_text"] = reference.text
            path = "/inference_zero_shot"
        wav = wav_bytes(*borrowed(reference, LOWEST_RATE))
        try:
            answer = self._client.post(path, data=form, files={"prompt_wav": ("prompt.wav", wav, "audio/wav")})
        except httpx.ConnectError as error:
            raise self._unreachable(error) from error
        except httpx.HTTPError as error:  # it broke off, or takes too long
            raise self._failure(text, str(error) or type(error).__name__) from error
        if answer.status_code != 200:
            raise self._failure(text, f"the server at {self.address} answered with status {answer.status_code}")
        samples = np.frombuffer(answer.content[: len(answer.content) // 2 * 2], "<i2").astype(np.float32) / 32768
        if not len(samples):
            raise self._failure(text, "the answer held no audio")
        return samples

    def _unreachable(self, error: Exception) -> EngineFailed:
        return EngineFailed(
            f"no CosyVoice server answers at {self.address} ({error}); start it, or name another place as "
            "cosyvoice=URL: what was rendered is kept, and the same command goes on"
        )

    def _failure(self, text: str, reason: str) -> RenderingFailed:
        return RenderingFailed(f"cosyvoice could not speak {text[:60]!r}: {reason}")


def open_engine(where: str, options: tuple[str, ...], device: str) -> CosyVoiceServer:
    """Give the `Engine`; `where` is the server's address, ``#NAME`` after it names the model."""
    read_options("cosyvoice", options, {})
    try:
        parts = urlsplit(where)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # a port that is no number
        usable = False
    if not usable:
        raise InputError(f"cosyvoice: {where!r} is no address of a server, such as http://127.0.0.1:50000")
    return CosyVoiceServer(f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}", parts.fragment)
