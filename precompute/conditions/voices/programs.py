"""Finding and running the synthesizers, which are Debian programs and not Python packages."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from precompute.clips import InputError
from precompute.conditions.voices.base import EngineFailed, Voice
from precompute.corpora.core_sounds import sounds_root

TIMEOUT_SECONDS = 120
"""A sentence takes milliseconds; an engine silent for this long hangs."""


class ProgramMissing(EngineFailed):
    """A synthesizer is not installed, so no text at all can be spoken with it."""


@dataclass(frozen=True)
class ProgramEngine:
    """An `Engine` that is a program run once per text.

    Parameters
    ----------
    speak : callable
        Text, name of a voice and further arguments, to samples and rate.
    version : callable
        Version the installed program states.
    """

    speak: Callable[[str, str, tuple[str, ...]], tuple[np.ndarray, int]]
    version: Callable[[], str]

    def identity(self) -> dict[str, str]:
        """Version of the program; see `Engine.identity`."""
        return {"engine": self.version()}

    def render(self, text: str, voice: Voice) -> tuple[np.ndarray, int]:
        """Run the program; see `Engine.render`."""
        return self.speak(text, voice.name, voice.options)

    def close(self) -> None:
        """Nothing to free: no process outlives its text."""


def no_place(engine: str, where: str) -> None:
    """Refuse a place named for an engine that has none."""
    if where:
        raise InputError(f"{engine} is embedded, so nothing is named after it; {where!r} was")


def find_program(name: str, package: str) -> tuple[str, dict[str, str]]:
    """Find a program on the path, or where ``make setup`` unpacks packages without root.

    Parameters
    ----------
    name : str
        Executable name.
    package : str
        Debian package that holds it.

    Returns
    -------
    tuple of str and dict
        Path of the program, and the environment it has to run in.

    Raises
    ------
    ProgramMissing
        Naming the package to install.
    """
    installed = shutil.which(name)
    if installed:
        return installed, dict(os.environ)
    root = sounds_root().resolve()
    if root == Path("/usr") or not (root / "bin" / name).is_file():
        raise ProgramMissing(f"{name} is not installed: run `make setup`, or install the Debian package {package}")
    return str(root / "bin" / name), {**os.environ, **_unpacked_environment(root)}


@functools.cache
def _unpacked_environment(root: Path) -> dict[str, str]:
    """Where programs unpacked under `root` find their libraries and espeak-ng its data, compiled in as /usr/lib."""
    libraries = sorted({str(path.parent) for path in root.glob("lib/**/*.so*")})
    data = sorted(root.glob("lib/*/espeak-ng-data"))
    found = {"LD_LIBRARY_PATH": os.pathsep.join(libraries)}
    return found | ({"ESPEAK_DATA_PATH": str(data[0].parent)} if data else {})


def run_program(name: str, package: str, arguments: list[str], text: str = "") -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end, with `text` as its standard input.

    Parameters
    ----------
    name, package : str
        See `find_program`.
    arguments : list of str
    text : str

    Returns
    -------
    subprocess.CompletedProcess
        With its output, whatever its exit status.

    Raises
    ------
    ProgramMissing
        If the program is not installed.
    InputError
        If it hangs.
    """
    program, environment = find_program(name, package)
    try:
        return subprocess.run(
            [program, *arguments],
            input=text.encode(errors="replace"),
            capture_output=True,
            env=environment,
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{name} gave no answer within {TIMEOUT_SECONDS} s for the text {text[:60]!r}") from error


def spoken(name: str, package: str, text: str, arguments: Callable[[Path], list[str]]) -> tuple[np.ndarray, int]:
    """Run a synthesizer that writes a WAV file, and read what it wrote.

    Parameters
    ----------
    name, package : str
        See `find_program`.
    text : str
        Given on standard input and as ``text.txt`` in the working folder handed to `arguments`.
    arguments : callable
        Folder to command line; the program has to write ``speech.wav`` in it.

    Returns
    -------
    samples : np.ndarray [shape=(n,)], float32
        Mono, at the level the engine gives.
    rate : int
        In Hz.

    Raises
    ------
    InputError
        If the engine fails, or writes no audio for this text.
    """
    import soundfile

    with tempfile.TemporaryDirectory(prefix="speech-") as folder:
        (Path(folder) / "text.txt").write_text(text, encoding="utf-8", errors="replace")
        # A file, because what espeak-ng writes to a pipe carries a header of unknown length.
        wav = Path(folder) / "speech.wav"
        done = run_program(name, package, arguments(Path(folder)), text)
        said = " ".join(done.stderr.decode(errors="replace").split())
        if done.returncode:
            raise InputError(f"{name} could not speak {text[:60]!r}: {said or f'exit status {done.returncode}'}")
        try:
            samples, rate = soundfile.read(wav, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise InputError(f"{name} wrote no audio for the text {text[:60]!r}") from error
    if not len(samples):
        raise InputError(f"{name} wrote no audio for the text {text[:60]!r}")
    return samples.mean(axis=1), rate


@functools.cache
def version(name: str, package: str) -> str:
    """Version a program states of itself, for instance ``1.51``; part of what determines a rendering."""
    words = run_program(name, package, ["--version"]).stdout.decode(errors="replace").replace("-", " ").split()
    return next((word for word in words if word[:1].isdigit() and "." in word), "unknown")
