"""A target behind an OpenAI-compatible chat completions endpoint: its text, and what it tells of its certainty.

Such a target is known less well than one whose weights are at hand. Of the next-token distributions an endpoint shows
the likeliest few (`top_logprobs`) or nothing. From the few follow the log probability of a written token, the
min-entropy and the gap of the two best; Shannon and collision entropy would only be bounded, and the effective support
needs the whole vocabulary, so these are not known (NaN) and not guessed. Temperature 0 is asked for, but nothing says
that no logits processor takes part. No text can be given: a chat endpoint scores what the model writes, so the carried
and reference rows do not exist. Where no log probability is offered, the text alone is judged (`precompute.labels`).
"""

from __future__ import annotations

import base64
import codecs
import hashlib
import io
import re
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from precompute.clips import SAMPLE_RATE, InputError
from precompute.indicators import STATISTICS, TokenStats
from precompute.targets.base import PROMPTS, checked
from precompute.targets.endpoint import KEY, Endpoint, Refusal

PREFIX = "api:"
"""Before the name of a target behind an endpoint: ``api:MODEL@https://HOST/v1``."""

PATH = "chat/completions"
TOPS = (20, 5, 0)
"""Alternatives to ask for at each position, the most that the API defines first; 0 asks for no log probability."""

UNLIKELY = -9999.0
"""What the API writes instead of the log probability of a token outside the listed ones."""

PROBE, PROBE_TOKENS = "Count from one to twenty in words.", 16
"""Asked once beside a second of silence, with an answer longer than allowed, to learn what the endpoint takes and tells
before clips are sent."""

FORM = "api:MODEL@https://HOST/v1"


@dataclass(frozen=True)
class Address:
    """Which model, and where.

    Parameters
    ----------
    model : str
        As the endpoint calls it.
    url : str
        Base address without a slash at the end.
    host : str
        Host, with the port where one is named.
    """

    model: str
    url: str
    host: str

    @property
    def id(self) -> str:
        """Name for people, tables and cache keys: model and host, no more."""
        return f"{PREFIX}{self.model}@{self.host}"


def is_api(name: str) -> bool:
    """Whether a name on the command line means a target behind an endpoint."""
    return name.startswith(PREFIX)


def address(name: str) -> Address:
    """Read a name of the form ``api:MODEL@https://HOST/v1``.

    Parameters
    ----------
    name : str

    Returns
    -------
    Address

    Raises
    ------
    InputError
        If it is of another form, or holds a user name, a password, a query or a fragment: these could be secrets, and
        an address is no place for them. Such a name is not repeated in the sentence.
    """
    found = re.fullmatch(rf"{PREFIX}(?P<model>\S+)@(?P<url>https?://\S+)", name)
    if found is None:
        shown = f": {name!r}" if "://" not in name else ""
        raise InputError(f"a target behind an endpoint is named {FORM}{shown}")
    try:
        parts = urlsplit(found["url"])
        port = parts.port
    except ValueError:
        raise InputError(f"a target behind an endpoint is named {FORM}; its address cannot be read") from None
    if "@" in parts.netloc or parts.query or parts.fragment or not parts.hostname:
        raise InputError(
            f"a target behind an endpoint is named {FORM}, without user name, query or fragment; a key goes into the "
            f"environment variable {KEY}"
        )
    host = parts.hostname if port is None else f"{parts.hostname}:{port}"
    return Address(found["model"], found["url"].rstrip("/"), host)


@dataclass(frozen=True)
class Manner:
    """How an endpoint wants to be asked; servers differ in what they refuse.

    Parameters
    ----------
    top : int
        Alternatives per position, one of `TOPS`.
    limit : str
        Name of the field for the longest answer.
    seeded : bool
        Whether a seed is sent.
    """

    top: int = TOPS[0]
    limit: str = "max_completion_tokens"
    seeded: bool = True

    def milder(self, refusal: Refusal) -> Manner | None:
        """Leave out what a refusal complains about; None where that is nothing of ours."""
        if refusal.status not in (400, 403, 422):
            return None
        words = refusal.message.lower()
        if self.limit in words and self.limit != "max_tokens":
            return replace(self, limit="max_tokens")
        if re.search(r"\bseed\b", words) and self.seeded:
            return replace(self, seeded=False)
        if "logprobs" in words and self.top:  # last, for some servers repeat the whole request in their complaint
            return replace(self, top=TOPS[TOPS.index(self.top) + 1])
        return None

    def fields(self, max_new_tokens: int) -> dict[str, Any]:
        """Fields of a request beside model and messages."""
        return {
            "temperature": 0,
            self.limit: max_new_tokens,
            **({"seed": 0} if self.seeded else {}),
            **({"logprobs": True, "top_logprobs": self.top} if self.top else {}),
        }


class ApiTarget:
    """A `precompute.targets.base.Target` that only writes.

    Parameters
    ----------
    address : Address
    endpoint : Endpoint
    manner : Manner
        As `settle` found it.
    top : int
        Alternatives per position that the endpoint lists; 0 where it tells no log probability.
    served : str
        What the endpoint says it serves under the model's name.

    Attributes
    ----------
    access : str
        ``logprobs``, or ``labels`` where the text is all it gives.
    limits : str
        What is not known of it, for people.
    decoding : str
    """

    family = "chat completions endpoint"
    dtype = "not known"
    prompts: Mapping[str, str] = PROMPTS
    decoding = "temperature 0 behind an endpoint; greedy decoding from raw logits is asked for, not certain"

    def __init__(self, address: Address, endpoint: Endpoint, manner: Manner, top: int, served: str) -> None:
        self.id = address.id
        self.access = "logprobs" if top else "labels"
        self.limits: str | None = limits(top)
        # The whole address counts, but only its host may be seen: a path can hold the name of an account.
        place = hashlib.sha256(address.url.encode()).hexdigest()[:8]
        self.revision = f"{served} {place} {f'top-{top} logprobs' if top else 'text only'}"
        self._model, self._endpoint, self._manner = address.model, endpoint, manner

    def generate(self, audios: Sequence[np.ndarray], prompt: str, max_new_tokens: int) -> list[TokenStats]:
        """Let the target write, at temperature 0; see `precompute.targets.base.Target.generate`.

        The end token is not listed by an endpoint, so it is not among the tokens. A clip that a content filter holds
        back gives no token and no text.

        Raises
        ------
        InputError
            If the endpoint cannot be reached, stays busy, or refuses.
        """
        fields = self._manner.fields(max_new_tokens)
        bodies = [lambda audio=audio: request(self._model, audio, prompt, fields) for audio in audios]
        found = []
        for reply in self._endpoint.post_all(PATH, bodies):
            if not isinstance(reply, Refusal):
                found.append(read_reply(self.id, reply, self.access == "logprobs"))
            elif reply.code == "content_filter":
                found.append(statistics([], ""))
            else:
                raise InputError(sentence(self.id, reply, self._endpoint.has_key))
        return found

    def score(self, audios: Sequence[np.ndarray], prompt: str, token_ids: Sequence[Sequence[int]]) -> list[TokenStats]:
        """Refuse: a chat endpoint has no way to take the answer that it should score."""
        raise InputError(f"{self.id}: an endpoint cannot score a given text, so only `single-pass` is possible")

    def encode(self, text: str) -> list[int]:
        """Refuse: an endpoint does not tell its token ids."""
        raise InputError(f"{self.id}: an endpoint does not tell its token ids")


def limits(top: int) -> str:
    """Say what an endpoint shows and what stays unknown.

    Parameters
    ----------
    top : int
        Alternatives per position; 0 where there is no log probability.
    """
    if top:
        return f"top-{top} logprobs of what it wrote; entropies unknown, no given text can be scored"
    return "its text only; certainty unknown, judged by its distance from the known text"


def load(name: str, endpoint: Endpoint | None = None) -> ApiTarget:
    """Reach a target behind an endpoint, with one request.

    Parameters
    ----------
    name : str
        ``api:MODEL@https://HOST/v1``.
    endpoint : Endpoint or None
        None makes one for that address, with the key from the environment.

    Returns
    -------
    ApiTarget

    Raises
    ------
    InputError
        If the name is of another form, nothing answers there, the key is not accepted, there is no such model, or it
        takes no audio.
    """
    where = address(name)
    endpoint = endpoint or Endpoint(where.id, where.url)
    manner, reply = settle(where, endpoint)
    top = listed(where.id, reply)
    served = endpoint.without_key(str(reply.get("model") or where.model))
    return ApiTarget(where, endpoint, manner if top else replace(manner, top=0), top, served)


def settle(where: Address, endpoint: Endpoint) -> tuple[Manner, dict[str, Any]]:
    """Ask one thing, leaving out what the endpoint does not take, until it answers.

    Parameters
    ----------
    where : Address
    endpoint : Endpoint

    Returns
    -------
    tuple of (Manner, dict)
        How it wants to be asked, and its answer.

    Raises
    ------
    InputError
        If it refuses for another reason.
    """
    manner: Manner | None = Manner()
    silence = np.zeros(SAMPLE_RATE, dtype=np.float32)
    while manner is not None:
        try:
            reply = endpoint.post(PATH, request(where.model, silence, PROBE, manner.fields(PROBE_TOKENS)))
        except Refusal as refusal:
            refused, manner = refusal, manner.milder(refusal)
            continue
        if manner.limit == "max_tokens" or written(reply) <= PROBE_TOKENS:
            return manner, reply
        manner = replace(manner, limit="max_tokens")  # an older server, which lets fields pass that it does not know
    raise InputError(sentence(where.id, refused, endpoint.has_key))


def written(reply: Mapping[str, Any]) -> int:
    """Count the tokens that an answer took, by the endpoint's own account; 0 where it gives none."""
    usage = reply.get("usage")
    count = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return count if isinstance(count, int) else 0


def sentence(name: str, refusal: Refusal, has_key: bool) -> str:
    """Say in one sentence why an endpoint refuses.

    Parameters
    ----------
    name : str
        Of the target.
    refusal : Refusal
    has_key : bool
        Whether a key was sent.
    """
    said = f"it says: {refusal.message}"
    if refusal.status == 401:
        reason = f"the key in {KEY} is not accepted" if has_key else f"it asks for a key; set {KEY}"
        return f"{name}: {reason} ({said})"
    if refusal.status == 403:
        return f"{name}: this key may not use it, or none was sent ({said})"
    if refusal.status == 404:
        return f"{name}: there is no such model, or no chat completions at this address ({said})"
    if refusal.status in (402, 429):
        return f"{name}: nothing is left to spend with this key ({said})"
    if refusal.status == 413:
        return f"{name}: a clip is larger than it takes ({said})"
    if re.search(r"audio|content|modalit", refusal.message.lower()):
        return f"{name}: takes no audio, or not this audio ({said})"
    return f"{name}: refuses the request with status {refusal.status} ({said})"


def request(model: str, audio: np.ndarray, prompt: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Make the body of a request: one turn, the prompt before the audio as for the other targets.

    Parameters
    ----------
    model, prompt : str
    audio : np.ndarray [shape=(n_samples,)]
        16 kHz mono float32.
    fields : mapping
        Of `Manner.fields`.

    Returns
    -------
    dict
    """
    sound = {"data": base64.b64encode(wav(audio)).decode("ascii"), "format": "wav"}
    content = [{"type": "text", "text": prompt}, {"type": "input_audio", "input_audio": sound}]
    return {"model": model, "messages": [{"role": "user", "content": content}], **fields}


def wav(audio: np.ndarray) -> bytes:
    """Make a WAV file of 16 bits, which every endpoint reads; finer amplitudes are rounded, louder ones cut.

    Parameters
    ----------
    audio : np.ndarray [shape=(n_samples,)]
        16 kHz mono float32; what was read from a file of 16 bits is kept exactly.

    Returns
    -------
    bytes
    """
    samples = np.clip(np.rint(checked(audio) * 32768.0), -32768, 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()


def read_reply(name: str, reply: Mapping[str, Any], certain: bool) -> TokenStats:
    """Read the text and, where they are wanted, the tokens of a chat completion.

    Parameters
    ----------
    name : str
        Of the target, for a sentence.
    reply : mapping
        The endpoint's answer.
    certain : bool
        Whether log probabilities are to be read; without them there is a text and no token.

    Returns
    -------
    TokenStats

    Raises
    ------
    InputError
        If the answer is not of the API's form.
    """
    try:
        choice = reply["choices"][0]
        text = choice["message"].get("content") or ""
        tokens = ((choice.get("logprobs") or {}).get("content") or []) if certain else []
        return statistics(tokens, text if isinstance(text, str) else "".join(part["text"] for part in text))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{name}: its answer is not of the form of a chat completion ({error!r:.100})") from None


def listed(name: str, reply: Mapping[str, Any]) -> int:
    """Count the alternatives per position that an answer lists; 0 where a written token has no log probability."""
    stats = read_reply(name, reply, certain=True)
    if not stats.n_tokens or not np.isfinite(stats.logprob).all():
        return 0
    return max(1, *(len(token.get("top_logprobs") or []) for token in reply["choices"][0]["logprobs"]["content"]))


def statistics(tokens: Sequence[Mapping[str, Any]], text: str) -> TokenStats:
    """Reduce listed log probabilities to the numbers kept per token; what cannot be known is NaN.

    Parameters
    ----------
    tokens : sequence of mapping
        ``logprobs.content`` of a choice: `token, logprob, bytes, top_logprobs`.
    text : str

    Returns
    -------
    TokenStats
        Ids are -1, since an endpoint names none.
    """
    numbers = np.full((len(tokens), len(STATISTICS)), np.nan, dtype=np.float32)
    at = {name: STATISTICS.index(name) for name in ("logprob", "renyi_inf", "gap")}
    for row, token in zip(numbers, tokens, strict=True):
        alternatives = [told(one) for one in token.get("top_logprobs") or []]
        best = sorted((value for value in alternatives if np.isfinite(value)), reverse=True)
        row[at["logprob"]] = told(token)
        if best:  # what was written need not be the likeliest
            row[at["renyi_inf"]] = -best[0]
        if len(best) > 1:
            row[at["gap"]] = np.exp(best[0]) - np.exp(best[1])
    return TokenStats.from_numbers(np.full(len(tokens), -1, dtype=np.int64), numbers, pieces(tokens), text)


def told(token: Mapping[str, Any]) -> float:
    """Log probability of a token or an alternative, at most 0; NaN where the API says that it does not tell."""
    value = float(token["logprob"])
    return min(value, 0.0) if value > UNLIKELY else float("nan")


def pieces(tokens: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Readable piece of every token; a character that spans several tokens is given to the last of them."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return tuple(
        decoder.decode(bytes(token["bytes"])) if token.get("bytes") is not None else str(token["token"])
        for token in tokens
    )
