"""A small hub on 127.0.0.1: as much of the Hugging Face hub's HTTP interface as reading datasets and models needs."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

CONVERTED = "refs/convert/parquet"
GOOD_TOKEN = "hf_allowed"
GROUP_ROWS = 6
"""Rows of a row group; the hub's own files have about a hundred."""


@dataclass(frozen=True)
class Repository:
    """A repository of a dataset or a model: files by branch; a gated one gives them to `GOOD_TOKEN` only."""

    branches: Mapping[str, Mapping[str, bytes]]
    gated: bool = False

    @cached_property
    def commits(self) -> dict[str, str]:
        """Commit that each branch is at."""
        commits = {}
        for branch, files in self.branches.items():
            digest = hashlib.sha1(branch.encode())
            for path, data in sorted(files.items()):
                digest.update(path.encode() + data)
            commits[branch] = digest.hexdigest()
        return commits

    def files(self, revision: str) -> tuple[str, Mapping[str, bytes]] | None:
        """Commit and files of a branch or commit."""
        for branch, files in self.branches.items():
            if revision in (branch, self.commits[branch]):
                return self.commits[branch], files
        return None


@dataclass
class HubReplica:
    """The server. Use it in a ``with`` statement; `requests` grows as it is asked."""

    repositories: Mapping[str, Repository]
    requests: list[str] = field(default_factory=list)
    before: Callable[[str], None] = lambda request: None
    """Called with every request before it is answered."""

    def __enter__(self) -> HubReplica:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def reads(self) -> list[str]:
        """Requests for the content of Parquet files, with their range."""
        return [one for one in self.requests if one.startswith("GET") and ".parquet" in one and "/resolve/" in one]


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    hub: HubReplica
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = f"{self.command} {unquote(url.path)} {self.headers.get('Range', '')}".strip()
        self.hub.requests.append(request)
        self.hub.before(request)
        steps = unquote(url.path).strip("/").split("/")
        if steps[:2] in (["api", "datasets"], ["api", "models"]):
            self.answer("/".join(steps[2:4]), steps[4:] or ["revision", "main"], parse_qs(url.query), body)
        elif steps[0] == "datasets":
            self.answer("/".join(steps[1:3]), steps[3:], parse_qs(url.query), body)
        elif steps[2:3] == ["resolve"]:  # a model's name stands alone
            self.answer("/".join(steps[:2]), steps[2:], parse_qs(url.query), body)
        else:
            self.send(404)

    do_HEAD = do_POST = do_GET

    def answer(self, name: str, steps: list[str], query: dict[str, list[str]], body: bytes) -> None:
        """Answer what is asked of a repository."""
        repository = self.hub.repositories.get(name)
        if repository is None:  # the hub does not tell strangers which repositories exist
            return self.send(401, headers={"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        verb, *rest = steps
        length = 3 if rest[:1] == ["refs"] else 1
        found = repository.files("/".join(rest[:length]))
        path = "/".join(rest[length:])
        if found is None:
            return self.send(404, headers={"X-Error-Code": "RevisionNotFound"})
        commit, files = found
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if verb in ("resolve", "tree", "paths-info") and repository.gated and token != GOOD_TOKEN:
            return self.send(403 if token else 401, headers={"X-Error-Code": "GatedRepo"})
        if verb == "revision":
            return self.send_json(about(name, commit, files, repository.gated))
        if verb == "tree":
            listing = tree(files, path, query.get("recursive", ["false"])[0].lower() == "true")
            if path and not listing:
                return self.send(404, headers={"X-Error-Code": "EntryNotFound"})
            return self.send_json(listing)
        if verb == "paths-info":
            asked = json.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode()).get("paths", [])
            everything = {entry["path"]: entry for entry in tree(files, "", True)}
            return self.send_json([everything[one] for one in asked if one in everything])
        if path not in files:
            return self.send(404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        return self.send_file(files[path], commit)

    def send_file(self, data: bytes, commit: str) -> None:
        """Send a file, or the range of it that is asked for."""
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        asked = self.headers.get("Range")
        if asked is None:
            return self.send(200, data, headers)
        first, last = asked.removeprefix("bytes=").split("-")
        end = min(int(last) + 1 if last else len(data), len(data))
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{len(data)}"
        return self.send(206, data[int(first) : end], headers)

    def send_json(self, value: object) -> None:
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def about(name: str, commit: str, files: Iterable[str], gated: bool) -> dict[str, Any]:
    """Information on a repository, as the hub gives it to everybody."""
    return {
        "_id": "1",
        "id": name,
        "sha": commit,
        "private": False,
        "gated": "auto" if gated else False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "siblings": [{"rfilename": path} for path in files],
        "createdAt": "2024-01-01T00:00:00.000Z",
        "lastModified": "2024-01-01T00:00:00.000Z",
    }


def tree(files: Mapping[str, bytes], under: str, recursive: bool) -> list[dict[str, Any]]:
    """List a folder of a repository."""
    entries: dict[str, dict[str, Any]] = {}
    start = f"{under}/" if under else ""
    for path, data in sorted(files.items()):
        steps = path.removeprefix(start).split("/")
        if not path.startswith(start) or (len(steps) > 1 and not steps[0]):
            continue
        for depth in range(1, len(steps)):
            folder = start + "/".join(steps[:depth])
            if recursive or depth == 1:
                entries[folder] = {"type": "directory", "oid": "0" * 40, "size": 0, "path": folder}
        if recursive or len(steps) == 1:
            oid = hashlib.sha1(data).hexdigest()
            entries[path] = {"type": "file", "oid": oid, "size": len(data), "path": path}
    return list(entries.values())


def clip(name: str, rate: int = 16_000, seconds: float = 0.6, form: str = "FLAC") -> bytes:
    """Encode noise that is the same whenever the name is."""
    seed = int.from_bytes(hashlib.sha1(name.encode()).digest()[:4], "big")
    samples = 0.1 * np.random.default_rng(seed).standard_normal(round(rate * seconds))
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form)
    return file.getvalue()


AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
NAMES = {pa.float32(): "float32", pa.float64(): "float64"}
"""What `datasets` calls the types that Arrow calls otherwise."""


def parquet(rows: list[dict[str, Any]], types: Mapping[str, Any]) -> bytes:
    """Write rows as `datasets` writes them: row groups, and the features in the schema's metadata.

    `types` gives a column an Arrow type, a sampling rate (an audio column) or names (a category).
    """
    features: dict[str, Any] = {}
    arrays = {}
    for name, kind in types.items():
        arrow = kind
        if isinstance(kind, int):
            arrow, features[name] = AUDIO, {"sampling_rate": kind, "_type": "Audio"}
        elif isinstance(kind, list):
            arrow, features[name] = pa.int64(), {"names": kind, "_type": "ClassLabel"}
        elif pa.types.is_list(kind):
            features[name] = {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"}
        else:
            features[name] = {"dtype": NAMES.get(kind, str(kind)), "_type": "Value"}
        arrays[name] = pa.array([row[name] for row in rows], arrow)
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    file = io.BytesIO()
    pq.write_table(pa.table(arrays).replace_schema_metadata(metadata), file, row_group_size=GROUP_ROWS)
    return file.getvalue()


def card(config: str, paths: Mapping[str, str]) -> bytes:
    """Write a dataset card that says which files are which split."""
    lines = ["---", "configs:", f"- config_name: {config}", "  data_files:"]
    lines += [f"  - split: {split}\n    path: {path}" for split, path in paths.items()]
    return "\n".join([*lines, "---", "A replica."]).encode()


def files(paths: list[str], rows: list[dict[str, Any]], types: Mapping[str, Any]) -> dict[str, bytes]:
    """Write rows to Parquet files, equally many to each, in order."""
    size = -(-len(rows) // len(paths))
    return {path: parquet(rows[i * size : (i + 1) * size], types) for i, path in enumerate(paths)}
