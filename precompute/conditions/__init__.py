"""Conditions: what a target hears instead of a clip, so that one can ask what its memory hangs on.

Importing this loads numpy only, so that the explorer can render noise when somebody listens to it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np

from precompute.clips import SAMPLE_RATE, TASKS, Clip, InputError
from precompute.conditions.casting import EMBEDDED, REALIZATIONS, Casting
from precompute.conditions.voices import EngineFailed, Studio

FIXED_SECONDS = 3.0
"""Default length of the fixed conditions."""

FIXED_RMS = 0.05
"""Level of ``noise_fixed``, about that of recorded speech (-26 dB of full scale)."""


@dataclass(frozen=True)
class Condition:
    """One way of replacing a clip's audio.

    Parameters
    ----------
    name : str
    description : str
        For people: what is heard and what it takes away.
    realizations : int
        How many versions an audit scores and averages over.
    fixed_length : bool
        True where every clip gets the same length, so that duration cannot tell classes apart.
    needs_text : bool
        True where the words have to be known.
    """

    name: str
    description: str
    realizations: int = 1
    fixed_length: bool = False
    needs_text: bool = False


CONDITIONS: dict[str, Condition] = {
    condition.name: condition
    for condition in (
        Condition("original", "The clip as recorded."),
        Condition("silence", "Zeros, as long as the clip: the voice and the words are gone, the duration stays."),
        Condition(
            "silence_fixed",
            "Zeros of one length for every clip: nothing of the clip is left, not even its duration.",
            fixed_length=True,
        ),
        Condition("noise", "White Gaussian noise, as long and as loud as the clip: duration and level stay."),
        Condition(
            "noise_fixed",
            "White Gaussian noise of one length and one level for every clip: nothing of the clip is left.",
            fixed_length=True,
        ),
        Condition(
            "resynthesis",
            "The clip's words spoken by three reference voices, or its caption rendered three times: the text stays, "
            "the speaker, the recording and the timing are gone.",
            realizations=REALIZATIONS,
            needs_text=True,
        ),
    )
}
"""Every condition by name, in the order of the tables."""


def gaussian(n_samples: int, rms: float, name: str) -> np.ndarray:
    """White Gaussian noise of an exact level.

    Parameters
    ----------
    n_samples : int
    rms : float, >= 0
        Root mean square of the result.
    name : str
        Seeds it: equal names give equal samples.

    Returns
    -------
    np.ndarray [shape=(n_samples,)], float32
    """
    digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
    noise = np.random.default_rng(int.from_bytes(digest, "big")).standard_normal(n_samples)
    return (noise * (rms / np.sqrt(np.mean(noise**2)))).astype(np.float32)


def spoken_text(clip: Clip, text: str | None) -> str:
    """Text that resynthesis speaks or renders: the one given, else the clip's own; `InputError` where there is none."""
    words = (clip.text if text is None else text) or ""
    if not words.strip():
        raise InputError(f"{clip.clip_id}: has no text, so there is no {TASKS[clip.task]} to make other audio from")
    return words


def render(
    name: str,
    clip: Clip,
    samples: np.ndarray,
    realization: int = 0,
    seed: int = 0,
    text: str | None = None,
    fixed_seconds: float = FIXED_SECONDS,
    casting: Casting = EMBEDDED,
    studio: Studio | None = None,
) -> np.ndarray:
    """Render one condition of one clip.

    The same arguments give the same samples, save where a resynthesis comes from a server that takes no seed.

    Parameters
    ----------
    name : str
        Key of `CONDITIONS`.
    clip : Clip
        Its id seeds the noise; its text and language make the resynthesis.
    samples : np.ndarray [shape=(n,)]
        The clip's own audio, mono at `SAMPLE_RATE`.
    realization : int
        From 0 to the condition's `realizations` - 1.
    seed : int
        Of the audit.
    text : str or None
        Words to speak instead of the clip's own, where those are not known.
    fixed_seconds : float, > 0
        Length of the fixed conditions.
    casting : Casting
        Who resynthesises the clip.
    studio : Studio or None
        Engines already open; None opens one for this call, which loads a large model anew each time.

    Returns
    -------
    np.ndarray [shape=(m,)], float32
        Mono at `SAMPLE_RATE`; noise may exceed 1 in amplitude where the clip is loud.

    Raises
    ------
    InputError
        For an unknown condition or realization, or a clip without text or with one that cannot be spoken.
    EngineFailed
        If what resynthesises the clip is missing or does not work.
    """
    if name not in CONDITIONS:
        raise InputError(f"there is no condition {name!r}; there are {', '.join(CONDITIONS)}")
    if not 0 <= realization < CONDITIONS[name].realizations:
        raise InputError(f"{name} has {CONDITIONS[name].realizations} realization(s), so there is no {realization}")
    if not 0 < fixed_seconds < float("inf"):
        raise InputError(f"the fixed length has to be a positive number of seconds, not {fixed_seconds}")
    samples = np.asarray(samples, dtype=np.float32)
    noise_name = f"{seed}/{clip.clip_id}/{realization}"
    n_fixed = max(1, round(fixed_seconds * SAMPLE_RATE))
    match name:
        case "silence":
            return np.zeros(len(samples), dtype=np.float32)
        case "silence_fixed":
            return np.zeros(n_fixed, dtype=np.float32)
        case "noise":
            level = float(np.sqrt(np.mean(samples.astype(float) ** 2)))
            return gaussian(len(samples), level, noise_name)
        case "noise_fixed":
            return gaussian(n_fixed, FIXED_RMS, noise_name)
        case "resynthesis":
            voice = casting.voices(clip, seed)[realization]
            with contextlib.nullcontext(studio) if studio is not None else Studio() as place:
                return place.speak(spoken_text(clip, text), voice)
        case _:
            return samples


def recipe(
    name: str,
    clip: Clip,
    realization: int = 0,
    text: str | None = None,
    seed: int = 0,
    casting: Casting = EMBEDDED,
    studio: Studio | None = None,
) -> dict[str, object]:
    """Say what a slow rendering is made of, so that it can be looked up without rendering it.

    Parameters
    ----------
    name, clip, realization, text, seed, casting, studio
        As in `render`.

    Returns
    -------
    dict of str to str, int or None
        For ``resynthesis``: text, voice and engine version, and where there is one the model's revision, the
        reference's content and the seed, which together determine every sample. Empty for the others, which are
        quicker to render than to name: use their content hash.
    """
    if name != "resynthesis":
        return {}
    voice = casting.voices(clip, seed)[realization]
    with contextlib.nullcontext(studio) if studio is not None else Studio() as place:
        return place.recipe(spoken_text(clip, text), voice)


@dataclass(frozen=True)
class Rendering:
    """Arguments of one `render` call, for `render_many`."""

    name: str
    clip: Clip
    samples: np.ndarray
    realization: int = 0
    seed: int = 0
    text: str | None = None
    fixed_seconds: float = FIXED_SECONDS
    casting: Casting = EMBEDDED


def render_many(
    jobs: Iterable[Rendering], workers: int | None = None, studio: Studio | None = None
) -> Iterator[np.ndarray | InputError]:
    """Render many conditions at once, in the order asked for.

    Threads suffice: a synthesizer is a process of its own. Jobs are drawn a little ahead of what is consumed, never all
    at once, so memory stays bounded and the source may itself be lazy. What renders one text at a time, a model in
    memory, does so in the caller's thread and just when its result is asked for.

    Parameters
    ----------
    jobs : iterable of Rendering
    workers : int or None
        Threads; None for one per core.
    studio : Studio or None
        Engines already open; None opens one for this call.

    Yields
    ------
    np.ndarray or InputError
        The samples; where one clip cannot be rendered, the error, so that a night's work does not end with it.

    Raises
    ------
    EngineFailed
        If what resynthesises is not installed, cannot be reached or died: then no later clip could be rendered either.
        What came before has been yielded.
    """
    workers = workers or os.cpu_count() or 1
    remaining = iter(jobs)
    with contextlib.ExitStack() as stack:
        place = studio if studio is not None else stack.enter_context(Studio())
        pool = ThreadPoolExecutor(workers, thread_name_prefix="render")
        stack.callback(pool.shutdown, cancel_futures=True)
        waiting: deque[Callable[[], np.ndarray | InputError]] = deque()
        while True:
            for job in islice(remaining, 4 * workers - len(waiting)):
                if job.name != "resynthesis" or job.casting.parallel(job.clip):
                    waiting.append(pool.submit(_render_or_error, job, place).result)
                else:
                    waiting.append(functools.partial(_render_or_error, job, place))
            if not waiting:
                return
            yield waiting.popleft()()


def _render_or_error(job: Rendering, studio: Studio) -> np.ndarray | InputError:
    """Render a job; hand an error about this one clip back as a value."""
    try:
        return render(
            job.name,
            job.clip,
            job.samples,
            job.realization,
            job.seed,
            text=job.text,
            fixed_seconds=job.fixed_seconds,
            casting=job.casting,
            studio=studio,
        )
    except EngineFailed:
        raise
    except InputError as error:
        return error
