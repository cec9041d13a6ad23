"""Stand-ins for what resynthesises: a CosyVoice server with espeak-ng behind it, and packages of other environments."""

import io
import socket
import sys
import textwrap
import threading
from contextlib import contextmanager
from typing import Annotated

import numpy as np
import soundfile

from precompute.clips import resample
from precompute.conditions.voices import Voice, speak
from precompute.conditions.voices.references import reference


def recording(path, hertz=120.0, rate=16_000, seconds=1.5, text=None):
    """Write a hum with overtones as a reference recording, and its transcript beside it."""
    time = np.arange(round(rate * seconds)) / rate
    hum = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 8))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * hum, rate)
    if text is not None:
        path.with_suffix(".txt").write_text(text)
    return path


def described(path, **how):
    """Write a reference recording and describe it."""
    text = how.get("text")
    return reference(recording(path, **how), text)


class CosyVoiceLike:
    """An application of CosyVoice's protocol; espeak-ng speaks, high for high references and low for low ones.

    As the real server: a reference under 16 kHz fails an assertion, an unspeakable text breaks the answer off after its
    status line. `healthy` False makes every text break off; `heard` lists the requests.
    """

    def __init__(self):
        self.healthy = True
        self.heard = []

    def application(self):
        from fastapi import FastAPI, File, Form, UploadFile
        from fastapi.responses import StreamingResponse

        app = FastAPI()
        Text, Upload = Annotated[str, Form()], Annotated[UploadFile, File()]

        @app.post("/inference_zero_shot")
        async def inference_zero_shot(tts_text: Text, prompt_text: Text, prompt_wav: Upload):
            return StreamingResponse(self.answer(tts_text, prompt_text, await prompt_wav.read()))

        @app.post("/inference_cross_lingual")
        async def inference_cross_lingual(tts_text: Text, prompt_wav: Upload):
            return StreamingResponse(self.answer(tts_text, None, await prompt_wav.read()))

        return app

    def answer(self, text, prompt, wav):
        samples, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
        assert rate >= 16_000, f"wav sample rate {rate} must be greater than 16000"
        assert len(samples) / rate <= 30
        self.heard.append((text, prompt, rate, len(samples) / rate))
        return self.spoken(text, "en+f2" if pitch_of(samples, rate) > 160 else "en+m3")

    def spoken(self, text, voice):
        if not self.healthy or "unspeakable" in text:
            yield b"\0\0"
            raise RuntimeError("the model is broken")
        samples = resample(speak(text, Voice("espeak-ng", voice)), 16_000, 24_000)
        pcm = (samples * 2**15).astype("<i2").tobytes()
        for start in range(0, len(pcm), 9600):
            yield pcm[start : start + 9600]


def pitch_of(samples, rate):
    """Frequency in Hz of the strongest autocorrelation between 60 and 400 Hz."""
    spectrum = np.abs(np.fft.rfft(samples[:rate], 2 * rate)) ** 2
    lags = np.arange(rate // 400, rate // 60)
    return rate / lags[np.argmax(np.fft.irfft(spectrum)[lags])]


@contextmanager
def serving(application):
    """Serve an application on a free port of this machine; gives the address and a function that stops it."""
    import uvicorn

    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application, log_level="critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()

    def stop():
        server.should_exit = True
        thread.join()
        listening.close()

    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", stop
    finally:
        stop()


NEW_COSYVOICE = """
    import numpy, torch, torchless_wav

    print("a message of the model on standard output, which must not disturb the protocol")

    class Model:
        sample_rate = 24000
        def inference_zero_shot(self, tts_text, prompt_text, prompt_wav, zero_shot_spk_id='', stream=False, speed=1.0,
                                text_frontend=True):
            assert text_frontend is False and not stream
            yield from self.speak(tts_text, torchless_wav.read(prompt_wav), len(prompt_text))
        def inference_cross_lingual(self, tts_text, prompt_wav, zero_shot_spk_id='', stream=False, speed=1.0,
                                    text_frontend=True):
            yield from self.speak(tts_text, torchless_wav.read(prompt_wav), 0)
        def speak(self, text, prompt, more):
            if "unspeakable" in text:
                raise RuntimeError("cannot say that")
            if "fatal" in text:
                import os
                os.write(2, b"Segmentation fault\\n")
                os._exit(139)
            level = float(numpy.abs(prompt).max())
            for sentence in text.split("."):
                if sentence.strip():
                    yield {"tts_speech": level * torch.rand(1, 240 * (len(sentence) + more))}

    def AutoModel(**kwargs):
        if kwargs["model_dir"] == "missing":
            raise ValueError("missing not found!")
        return Model()
"""
"""CosyVoice since December 2025: `AutoModel`, a reference as a path."""

OLD_COSYVOICE = """
    import torch

    class CosyVoice2:
        sample_rate = 24000
        def __init__(self, model_dir, load_jit=False, load_trt=False, fp16=False):
            pass
        def inference_zero_shot(self, tts_text, prompt_text, prompt_speech_16k, stream=False, speed=1.0):
            assert prompt_speech_16k.shape == (1, 24000), prompt_speech_16k.shape
            yield {"tts_speech": 0.1 * torch.rand(1, 240 * len(tts_text))}
        def inference_cross_lingual(self, tts_text, prompt_speech_16k, stream=False, speed=1.0):
            yield {"tts_speech": 0.1 * torch.rand(1, 120 * len(tts_text))}
"""
"""CosyVoice before: `CosyVoice2`, a reference as samples at 16 kHz, no `text_frontend`."""

WAV_READER = """
    import wave, numpy
    def read(path):
        with wave.open(path) as file:
            assert file.getframerate() >= 16000, file.getframerate()
            return numpy.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
"""

COSYVOICE_FILES = """
    import torch, torchless_wav
    def load_wav(wav, target_sr, min_sr=16000):
        return torch.tensor(torchless_wav.read(wav).copy())[None]
"""

TANGOFLUX = """
    import types, torch

    class Tokenizer:
        model_max_length = 32
        def __call__(self, text):
            return types.SimpleNamespace(input_ids=text.split())

    class TangoFlux:
        tokenizer = Tokenizer()
        def inference_flow(self, prompt, num_inference_steps=50, timesteps=None, guidance_scale=3, duration=10, seed=0,
                           disable_progress=False, num_samples_per_prompt=1, callback_on_step_end=None):
            torch.manual_seed(seed)
            torch.backends.cudnn.deterministic = True
            if not guidance_scale > 1.0:
                raise TypeError("encode_text() got an unexpected keyword argument 'num_samples_per_prompt'")
            return torch.randn(num_samples_per_prompt, 645, 64) * len(prompt) / 1000

    class Vae:
        config = types.SimpleNamespace(sampling_rate=44100)
        def decode(self, latents):
            assert latents.shape[1] == 64
            loud = latents.reshape(1, 2, -1).repeat(1, 1, 64)
            return types.SimpleNamespace(sample=loud)

    class TangoFluxInference:
        def __init__(self, name="declare-lab/TangoFlux", device="cpu"):
            torch.manual_seed(1234)
            self.model, self.vae = TangoFlux(), Vae()
            self.state = torch.get_rng_state()
        def generate(self, prompt, steps=25, duration=10, guidance_scale=4.5):
            raise AssertionError("always seed 0")
"""

HUB = """
    def snapshot_download(repo_id):
        if repo_id == "nobody/nothing":
            raise OSError("no such model")
        return "/models/" + repo_id + "/snapshots/c0ffee"
"""


TORCH = """
    import contextlib, numpy

    drawn = numpy.random.default_rng(0)
    no_grad = contextlib.nullcontext

    class Tensor(numpy.ndarray):
        def cpu(self):
            return self
        def numpy(self):
            return numpy.asarray(self)

    def manual_seed(seed):
        global drawn
        drawn = numpy.random.default_rng(seed)

    def rand(*shape):
        return drawn.random(shape).view(Tensor)

    def tensor(values):
        return numpy.asarray(values).view(Tensor)

    def cat(parts, dim):
        return numpy.concatenate(parts, dim).view(Tensor)
"""
"""As much of torch as the worker of CosyVoice uses, where loading the real one would be all that a test does."""

NEW = {
    "cosyvoice/cli/cosyvoice": NEW_COSYVOICE,
    "cosyvoice/utils/file_utils": COSYVOICE_FILES,
    "torchless_wav": WAV_READER,
}
OLD = {**NEW, "cosyvoice/cli/cosyvoice": OLD_COSYVOICE}


def write_packages(folder, modules):
    """Write modules by path, with the packages they are in."""
    for name, source in modules.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        for package in path.relative_to(folder).parents[:-1]:
            (folder / package / "__init__.py").touch()
        path.write_text(textwrap.dedent(source))
    return folder


def python_with(folder, modules):
    """Make a Python that finds the modules: a script, as a virtual environment's is a link."""
    write_packages(folder / "site", modules)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={folder / "site"} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return str(python)
