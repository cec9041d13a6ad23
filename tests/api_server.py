"""A chat completions endpoint on 127.0.0.1 that takes what the API takes, refuses what it refuses, and remembers clips.

Requests and answers have the fields of the OpenAI API reference ("Create chat completion"); anything else in a request
is refused, as that API does. What it writes is planted by the audio it hears.
"""

from __future__ import annotations

import base64
import io
import json
import math
import threading
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

FIELDS = {
    *("model", "messages", "temperature", "seed", "logprobs", "top_logprobs"),
    *("max_completion_tokens", "max_tokens"),
}


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, {}
        kind = "invalid_request_error" if status < 500 else "server_error"
        self.body: Any = {"error": {"message": message, "type": kind, "param": param, "code": code}}


@dataclass
class Endpoint:
    """How the endpoint behaves, and what it was asked.

    Parameters
    ----------
    key : str or None
        Without it a request is refused; None lets anybody in.
    model : str
        The one it serves.
    write : callable
        From the 16-bit samples heard to words and the probability of each.
    logprobs : str
        ``yes``, ``no`` (asked for, they are refused), ``null`` (left out without a word).
    most_top : int
        Most alternatives per position.
    audio : bool
        Whether it takes audio at all.
    fields : set of str
        What a request may hold.
    answers : callable or None
        Told the number of the request (from 1); may raise `Refused`.
    before : callable
        Called while a request is under way.
    """

    key: str | None = None
    model: str = "listener-1"
    write: Callable[[np.ndarray], list[tuple[str, float]]] = lambda samples: [("yes", 0.9)]
    logprobs: str = "yes"
    most_top: int = 20
    audio: bool = True
    fields: set[str] = field(default_factory=lambda: set(FIELDS))
    answers: Callable[[int], Any] = lambda number: None
    before: Callable[[], Any] = lambda: None
    requests: list[dict[str, Any]] = field(default_factory=list)
    gone: bool = False
    busy: int = 0
    busiest: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, authorization: str | None, body: dict[str, Any]) -> dict[str, Any]:
        """One chat completion, or `Refused`."""
        with self.lock:
            self.requests.append(body)
            number = len(self.requests)
        if self.key is not None and authorization != f"Bearer {self.key}":
            raise Refused(401, f"Incorrect API key provided: {(authorization or '')[7:]}.", "invalid_api_key")
        self.answers(number)
        if path != "/v1/chat/completions":
            raise Refused(404, f"Invalid URL (POST {path})")
        if body["model"] != self.model:
            raise Refused(404, f"The model `{body['model']}` does not exist.", "model_not_found")
        for name in body.keys() - self.fields:
            raise Refused(400, f"Unrecognized request argument supplied: {name}")
        if body.get("logprobs") and self.logprobs == "no":
            raise Refused(400, "This model does not support the 'logprobs' parameter.", param="logprobs")
        top = body.get("top_logprobs", 0)
        if (top and not body.get("logprobs")) or not 0 <= top <= self.most_top:
            raise Refused(400, f"Invalid value for 'top_logprobs': must be at most {self.most_top}.")
        if {"max_tokens", "max_completion_tokens"} <= body.keys():
            raise Refused(400, "'max_tokens' and 'max_completion_tokens' at the same time are not supported.")
        words = self.write(self._heard(body["messages"]))
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or 4096
        listed = body.get("logprobs") and self.logprobs == "yes"
        return completion(self.model, words[:limit], top if listed else None, len(words) > limit)

    def _heard(self, messages: list[dict[str, Any]]) -> np.ndarray:
        """16-bit samples of the one audio part, which must follow a text part in one turn of the user."""
        (turn,) = messages
        if turn["role"] != "user" or [part["type"] for part in turn["content"]] != ["text", "input_audio"]:
            raise Refused(400, "Invalid messages.", param="messages")
        if not self.audio:
            raise Refused(400, "Invalid content type. input_audio is not supported by this model.", param="messages")
        sound = turn["content"][1]["input_audio"]
        if set(sound) != {"data", "format"} or sound["format"] != "wav":
            raise Refused(400, "Invalid value for 'input_audio'.")
        with wave.open(io.BytesIO(base64.b64decode(sound["data"], validate=True))) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
            return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")


def completion(model: str, words: list[tuple[str, float]], top: int | None, cut: bool = False) -> dict[str, Any]:
    """Body of a chat completion; the first alternative is what was written, the others share what is left."""
    pieces = [(word if i == 0 else f" {word}", chance) for i, (word, chance) in enumerate(words)]
    logprobs = None if top is None else {"content": [_token(*piece, top) for piece in pieces], "refusal": None}
    message = {"role": "assistant", "content": "".join(piece for piece, _ in pieces), "refusal": None}
    reason = "length" if cut else "stop"
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": f"{model}-2025",
        "choices": [{"index": 0, "message": message, "logprobs": logprobs, "finish_reason": reason}],
        "usage": {"prompt_tokens": 9, "completion_tokens": len(words), "total_tokens": 9 + len(words)},
    }


def _token(piece: str, chance: float, top: int) -> dict[str, Any]:
    def one(text: str, p: float) -> dict[str, Any]:
        return {"token": text, "logprob": math.log(p), "bytes": list(text.encode())}

    # A tail that halves at every step, as a sharp distribution's does.
    others = [one(f"other{i}", (1 - chance) / 2 ** (i + 1)) for i in range(top - 1)]
    alternatives = sorted([one(piece, chance), *others], key=lambda token: -token["logprob"])
    return {**one(piece, chance), "top_logprobs": alternatives[:top]}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        endpoint: Endpoint = self.server.endpoint  # type: ignore[attr-defined]
        if endpoint.gone:  # a connection kept alive outlives the server's socket
            self.close_connection = True
            return
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with endpoint.lock:
            endpoint.busy += 1
            endpoint.busiest = max(endpoint.busiest, endpoint.busy)
        status, headers = 200, {}
        try:
            endpoint.before()
            found: Any = endpoint.answer(self.path, self.headers["Authorization"], body)
        except Refused as refused:
            status, headers, found = refused.status, refused.headers, refused.body
        finally:
            with endpoint.lock:
                endpoint.busy -= 1
        data = found if isinstance(found, bytes) else json.dumps(found).encode()
        head = {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}
        lines = [f"HTTP/1.1 {status} -", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        # In one piece: two would wait for each other's acknowledgement.
        self.wfile.write("\r\n".join(lines).encode() + data)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


@contextmanager
def serving(endpoint: Endpoint) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1; gives the name of the target behind it, for the command line."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.endpoint = endpoint  # type: ignore[attr-defined]
    endpoint.gone = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"api:{endpoint.model}@http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        endpoint.gone = True
        server.shutdown()
        server.server_close()
        thread.join()
