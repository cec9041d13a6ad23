"""Engines that run in a Python environment of their own, because what they need cannot live beside what we need.

Such an engine is a script of `workers` run by that environment's Python. It reads a request and writes an answer as a
line of JSON each, and writes audio as WAV files.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from precompute.conditions.voices.base import EngineFailed, RenderingFailed

WORKERS = Path(__file__).parent / "workers"
LOADING_SECONDS = 1800.0
"""For fetching a model and for loading one."""

TEXT_SECONDS = 900.0
"""For one text; a worker silent for this long hangs."""


def find_python(engine: str, where: str, variable: str) -> str:
    """Find the Python that an engine runs in.

    Parameters
    ----------
    engine : str
        For messages.
    where : str
        Path or command name; empty to take the environment variable's.
    variable : str
        Name of that variable.

    Returns
    -------
    str
        Absolute path; links are kept, since a virtual environment's Python is one.

    Raises
    ------
    EngineFailed
        If none is named, or there is none of that name.
    """
    named = where or os.environ.get(variable, "")
    if not named:
        raise EngineFailed(
            f"{engine} runs in a Python environment of its own: name its Python as {engine}=PYTHON, "
            f"or in the environment variable {variable}"
        )
    found = shutil.which(named)
    if found is None:
        raise EngineFailed(f"{engine}: there is no Python at {named}")
    return str(Path(found).absolute())


class Worker:
    """A worker process: started by the first request, ended by `close`. One request at a time.

    Parameters
    ----------
    engine : str
        For messages.
    command : sequence of str
        Python, script and arguments.
    """

    def __init__(self, engine: str, command: Sequence[str]) -> None:
        self.engine = engine
        self.command = list(command)
        self._process: subprocess.Popen[str] | None = None
        self._stderr: IO[bytes] | None = None
        self._identity: dict[str, str] | None = None

    def identity(self) -> dict[str, str]:
        """Ask which code and model the worker would load; nothing is loaded for it.

        Returns
        -------
        dict of str to str

        Raises
        ------
        EngineFailed
            If the environment cannot run the worker or lacks its package.
        """
        if self._identity is None:
            try:
                done = subprocess.run(
                    [*self.command, "--identify"], capture_output=True, text=True, timeout=LOADING_SECONDS, check=False
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise EngineFailed(f"{self.engine}: {self.command[0]} cannot run its worker ({error})") from error
            try:
                answer = json.loads(done.stdout.strip().splitlines()[-1])
            except (ValueError, IndexError) as error:
                said = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1].strip()[:200]
                raise EngineFailed(f"{self.engine}: {self.command[0]} cannot run its worker ({said})") from error
            if "failed" in answer:
                raise EngineFailed(f"{self.engine}: {answer['failed']} ({self.command[0]})")
            self._identity = {str(key): str(value) for key, value in answer.items()}
        return self._identity

    def render(self, request: Mapping[str, Any]) -> tuple[np.ndarray, int]:
        """Have one request rendered.

        Parameters
        ----------
        request : mapping
            What the worker reads, without ``out``.

        Returns
        -------
        samples : np.ndarray [shape=(n,)], float32
        rate : int

        Raises
        ------
        RenderingFailed
            If the worker says that it cannot render this one.
        EngineFailed
            If it does not start, dies or hangs.
        """
        import soundfile

        process = self._running()
        with tempfile.TemporaryDirectory(prefix="worker-") as folder:
            out = Path(folder) / "audio.wav"
            answer = self._ask(process, {**request, "out": str(out)}, TEXT_SECONDS)
            if "error" in answer:
                raise RenderingFailed(
                    f"{self.engine} could not render {str(request['text'])[:60]!r} ({answer['error']})"
                )
            samples, rate = soundfile.read(out, dtype="float32")
        return samples, rate

    def close(self) -> None:
        """End the process: by closing its input, and by force if that is not enough."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None

    def _running(self) -> subprocess.Popen[str]:
        """Give the process, started and its model loaded."""
        if self._process is None:
            self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  a file, so that no output can block the worker
            try:
                self._process = subprocess.Popen(
                    self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, text=True
                )
            except OSError as error:
                raise EngineFailed(f"{self.engine}: {self.command[0]} cannot be started ({error})") from error
            answer = self._ask(self._process, None, LOADING_SECONDS)
            if "failed" in answer:
                raise EngineFailed(f"{self.engine}: its model cannot be loaded ({answer['failed']})")
        return self._process

    def _ask(self, process: subprocess.Popen[str], request: Mapping[str, Any] | None, seconds: float) -> dict[str, Any]:
        """Send a request, if there is one, and wait for the answer; a process that gives none is killed."""
        assert process.stdin is not None and process.stdout is not None
        hung = threading.Event()

        def give_up() -> None:
            hung.set()
            process.kill()

        timer = threading.Timer(seconds, give_up)
        timer.start()
        try:
            if request is not None:
                process.stdin.write(json.dumps(request) + "\n")
                process.stdin.flush()
            answer: dict[str, Any] = json.loads(process.stdout.readline())
        except (OSError, ValueError) as error:
            process.kill()
            process.wait()
            reason = f"gave no answer for {seconds:g} s" if hung.is_set() else f"ended with {self._last_words(process)}"
            during = "loading its model" if request is None else f"rendering {str(request['text'])[:60]!r}"
            raise EngineFailed(
                f"{self.engine}: while {during} its worker {reason}; what was rendered is kept, and the same command "
                "goes on"
            ) from error
        finally:
            timer.cancel()
        return answer

    def _last_words(self, process: subprocess.Popen[str]) -> str:
        """Exit status and last line that a dead worker wrote."""
        assert self._stderr is not None
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - 2000))
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return f"status {process.returncode}" + (f": {lines[-1].strip()[:200]}" if lines else "")


def _end(process: subprocess.Popen[str]) -> None:
    """Close a worker's input and wait for it to leave."""
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # it has left already
        process.stdin.close()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
