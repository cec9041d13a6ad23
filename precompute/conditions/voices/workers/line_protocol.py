"""How a worker talks to the audit that started it: a line of JSON in, a line of JSON out, audio as WAV files.

Runs in an environment of its own, where nothing of the audit is installed: standard library only, Python 3.8 and later.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
import wave
from pathlib import Path


def own_stdout():
    """Keep standard output for the protocol; whatever the model's code prints goes to standard error."""
    kept = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return kept


def say(channel, **message):
    """Write one message."""
    channel.write(json.dumps(message) + "\n")
    channel.flush()


def serve(load):
    """Load a model with `load()`, which gives a function of a request, then answer requests until input ends.

    A request holds at least ``out``, the WAV file to write. The function returns samples, an array of shape (n,) or
    (channels, n) of floats, and their rate in Hz. What goes wrong with one request is answered and the next one taken.
    """
    channel = own_stdout()
    try:
        render = load()
    except BaseException as error:
        say(channel, failed=described(error))
        raise
    say(channel, ready=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            samples, rate = render(request)
            write_wav(request["out"], samples, rate)
        except Exception as error:
            say(channel, error=described(error))
        else:
            say(channel, done=request["out"])


def described(error):
    """Give an error as one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def write_wav(path, samples, rate):
    """Write floats as 16-bit mono; what exceeds full scale is scaled down as a whole, since clipping would distort."""
    import numpy

    mono = numpy.atleast_2d(numpy.asarray(samples, dtype="float64")).mean(axis=0)
    if not numpy.isfinite(mono).all():
        raise ValueError("the model gave samples that are not finite")
    mono = mono / max(1.0, numpy.abs(mono).max(initial=0.0))
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(int(rate))
        file.writeframes((mono * 32767).round().astype("<i2").tobytes())


def identify(package, **more):
    """Print which code a package holds, as the hash of its Python files, without importing it."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        print(json.dumps({"failed": f"the package {package} is not installed there"}))
        return
    folder = Path(next(iter(found.submodule_search_locations)))
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    print(json.dumps({"engine": f"{package} {digest.hexdigest()[:16]}", **more}))
