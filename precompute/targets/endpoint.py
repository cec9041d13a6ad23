"""An HTTP endpoint that answers chat completions: bounded concurrency, patience with a busy server, no key in any text.

Statuses and error bodies are those of the OpenAI API reference and of servers that follow it; bodies that differ are
read as far as they go.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING, Any

from precompute.clips import InputError

if TYPE_CHECKING:
    import httpx

KEY = "AUDIT_API_KEY"
"""Environment variable that holds the key; it is sent as a bearer token and kept nowhere else."""

CONCURRENCY = 8
"""Most requests under way at once."""

ATTEMPTS = 7
"""Tries of one request; with pauses doubling from one second a busy server is given about a minute."""

LONGEST_PAUSE = 60.0
"""Seconds; a server that asks for more is asked again after this."""

TIMEOUT = 120.0
"""Seconds without a byte after which a try has failed."""

SPENT = ("insufficient_quota", "billing_hard_limit_reached")
"""Codes of a 429 that no waiting ends."""


class Refusal(Exception):
    """An answer that says no for good.

    Parameters
    ----------
    status : int
        HTTP status, 4xx.
    message : str
        The server's words on one line, without the key.
    code : str
        The server's short name of the reason; may be empty.
    """

    def __init__(self, status: int, message: str, code: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status, self.message, self.code = status, message, code


class Endpoint:
    """Posts JSON to one address and gives the JSON that comes back.

    Until something has answered, an address that cannot be reached is wrong; after that it is busy, and is tried again.

    Parameters
    ----------
    name : str
        For sentences; holds no secret.
    url : str
        Base address, without a slash at the end.
    key : str or None
        None reads the environment variable `KEY`; where that is not set, or empty, no key is sent.
    wait : callable or None
        Told the seconds to pause before the next try; None pauses for that long, or until the work is given up.
    timeout : float
        Seconds.

    Raises
    ------
    InputError
        If the key holds a character that cannot be sent.
    """

    def __init__(
        self,
        name: str,
        url: str,
        key: str | None = None,
        wait: Callable[[float], Any] | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        import httpx

        self.name, self.url = name, url
        self._key = (os.environ.get(KEY, "") if key is None else key).strip()
        self._wait = wait
        self._answered = False
        if not self._key.isascii() or not self._key.isprintable():  # or the HTTP library would show it in its complaint
            raise InputError(f"the key in {KEY} holds a character that no key has")
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        # Redirects are not followed: the key is for this address and no other.
        self._client = httpx.Client(headers=headers, timeout=timeout, follow_redirects=False)

    @property
    def has_key(self) -> bool:
        """Whether a key is sent."""
        return bool(self._key)

    def without_key(self, text: str) -> str:
        """Blank the key out of a server's words, which some servers repeat, and put them on one line."""
        hidden = text.replace(self._key, "[key]") if self._key else text
        return " ".join(hidden.split())[:200].rstrip(". ")

    def post_all(self, path: str, bodies: Sequence[Callable[[], Mapping[str, Any]]]) -> list[dict[str, Any] | Refusal]:
        """Post requests, at most `CONCURRENCY` at once; one that fails stops those not yet begun.

        Parameters
        ----------
        path : str
            Below the base address.
        bodies : sequence of callable
            Each makes the body of a request when its turn comes, so that few are in memory.

        Returns
        -------
        list of dict or Refusal
            In order.

        Raises
        ------
        InputError
            If the server cannot be reached or stays busy.
        """
        given_up = Event()
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            waiting = [pool.submit(self._answer, path, body, given_up) for body in bodies]
            try:
                return [one.result() for one in waiting]
            except BaseException:
                given_up.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _answer(self, path: str, body: Callable[[], Mapping[str, Any]], given_up: Event) -> dict[str, Any] | Refusal:
        try:
            return self.post(path, body(), given_up)
        except Refusal as refusal:
            return refusal

    def post(self, path: str, body: Mapping[str, Any], given_up: Event | None = None) -> dict[str, Any]:
        """Post one request; 408, 409, 429 and 5xx are tried again after a pause, and so is a broken connection.

        Parameters
        ----------
        path : str
        body : mapping
        given_up : threading.Event or None
            Once set, nothing is tried again.

        Returns
        -------
        dict

        Raises
        ------
        Refusal
            On any other 4xx, and on a 429 that says that nothing is left to spend.
        InputError
            If the server cannot be reached, stays busy, redirects, or answers with something that is no JSON object.
        """
        import httpx

        given_up = given_up or Event()
        wait = self._wait or given_up.wait
        trouble = ""
        for attempt in range(ATTEMPTS):
            pause = 2.0**attempt
            try:
                response = self._client.post(f"{self.url}/{path}", json=body)
            except httpx.TransportError as error:
                trouble = self.without_key(str(error)) or type(error).__name__
                if not self._answered:
                    break
            except (httpx.InvalidURL, httpx.DecodingError) as error:
                raise InputError(f"{self.name}: cannot be asked ({self.without_key(str(error))})") from None
            else:
                self._answered = True
                if not _busy(response.status_code):
                    return self._read(response)
                message, code = complaint(response)
                if code in SPENT:
                    raise Refusal(response.status_code, self.without_key(message), code)
                trouble = f"{response.status_code}: {self.without_key(message)}"
                pause = asked_pause(response.headers.get("Retry-After"), pause)
            if attempt + 1 == ATTEMPTS or given_up.is_set():
                break
            # Requests that were turned away together must not come back together.
            wait(min(pause * random.uniform(1.0, 1.25), LONGEST_PAUSE))
        if not self._answered:
            raise InputError(f"{self.name}: cannot be reached ({trouble})")
        raise InputError(
            f"{self.name}: no answer after {ATTEMPTS} tries ({trouble}); the same command goes on from here"
        )

    def _read(self, response: httpx.Response) -> dict[str, Any]:
        """Turn a final answer into its JSON object."""
        status = response.status_code
        if 300 <= status < 400:
            raise InputError(f"{self.name}: answers with a redirect; give the address it leads to")
        if status >= 400:
            message, code = complaint(response)
            raise Refusal(status, self.without_key(message), code)
        try:
            found = response.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise InputError(f"{self.name}: answers with something that is no JSON object, so it is no such endpoint")
        return found


def _busy(status: int) -> bool:
    """Whether the same request may succeed later."""
    return status in (408, 409, 429) or status >= 500


def asked_pause(header: str | None, otherwise: float) -> float:
    """Seconds that a server asks to wait; `otherwise` where it does not say so in seconds.

    Parameters
    ----------
    header : str or None
        ``Retry-After``.
    otherwise : float

    Returns
    -------
    float
        In [0, `LONGEST_PAUSE`].
    """
    try:
        seconds = float(header) if header else otherwise
    except ValueError:  # a date, which few servers send
        seconds = otherwise
    return min(max(seconds, 0.0), LONGEST_PAUSE) if seconds == seconds else otherwise


def complaint(response: httpx.Response) -> tuple[str, str]:
    """Message and code of an error body.

    Parameters
    ----------
    response : httpx.Response

    Returns
    -------
    tuple of (str, str)
        The parameter that is at fault, where it is named apart, stands at the end of the message. What is no error
        body is given as it is.
    """
    try:
        found = response.json()
    except ValueError:
        return response.text, ""
    body = found.get("error", found) if isinstance(found, dict) else found
    if not isinstance(body, dict):
        return str(body), ""
    message = str(body.get("message") or body.get("detail") or body)
    param = body.get("param")
    if param and str(param) not in message:
        message = f"{message} [{param}]"
    return message, str(body.get("code") or "")
