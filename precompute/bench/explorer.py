"""The explorer under a large bundle: what the server takes, and what a visitor waits for.

The app runs as a process of its own on 127.0.0.1, chromium visits it. Every time is taken in the browser, from the
input event to what is seen or heard of it.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from precompute.bundle import audio_file, read_bundle
from precompute.clips import InputError

APP = Path(__file__).resolve().parents[2] / "app.py"
PAGES = {
    "overview": ("/", "table.rows tbody tr"),
    "dataset": ("/dataset", '.linked[data-ready="true"]'),
    "evidence": ("/evidence", "section[data-grid]:not([hidden]) h2"),
    "conditions": ("/conditions", "section[data-grid]:not([hidden]) td.cell"),
    "score": ("/score", "input[type=file]"),
    "method": ("/method", "h1"),
}
"""Page to its address and the selector of what has to be seen before it counts as open."""

BARS = {
    "peak_rss_mb": 1000.0,
    "page_s": 3.0,
    "click_to_audio_ms": 150.0,
    "condition_swap_ms": 20.0,
    "threshold_move_ms": 1000 / 60,
    "payload_kb": 250.0,
}
"""What is asked of each measure: it stays below."""

PATIENCE = 120_000
CLICK_PATIENCE = 10_000
CLICKS = 15
MOVES = 120
FLAGS = ("--no-sandbox", "--autoplay-policy=no-user-gesture-required")

WATCH = """
window.bench = {heard: 0, input: 0};
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (...a) {
  window.bench.heard = performance.now();
  return start.apply(this, a);
};
addEventListener('pointerdown', () => { window.bench.input = performance.now(); window.bench.heard = 0; }, true);
"""
"""Runs before the page's own scripts: when a pointer went down, and when sound began after it."""

LONELY = """([ids, count]) => {
  const e = window.explorer, {x, y} = e.scatter.points;
  const known = (i) => x[i] !== null && y[i] !== null;
  const gap = (i) => Math.min(...x.map((_, j) => i === j || !known(j) ? 9 : Math.hypot(x[i] - x[j], y[i] - y[j])));
  return ids.filter((id) => known(e.base.id.indexOf(id))).map((id) => [gap(e.base.id.indexOf(id)), id])
    .sort((a, b) => b[0] - a[0]).slice(0, count).map(([, id]) => id);
}"""
"""Those of the named clips whose points are farthest from any other, so that a click can mean no other."""

HEARD = """() => window.explorer.panel.index !== null && window.explorer.panel.details
  && (window.bench.heard || document.querySelector('[data-part=note]').textContent)"""
"""Whether a click is done: a clip is shown, and it sounds or says why not."""

SHOWN = """(k) => window.explorer.panel.player.current === k
  && document.querySelector('.linked').getAttribute('aria-busy') === 'false'"""
"""Whether an input is heard and drawn."""

THRESHOLD = """async (moves) => {
  const range = document.querySelector('[data-part="range"]');
  const spent = [];
  for (let i = 0; i < moves; i += 1) {
    await new Promise(requestAnimationFrame);
    const start = performance.now();
    range.value = String(0.2 + 0.6 * i / moves);
    range.dispatchEvent(new Event('input', {bubbles: true}));
    document.body.getBoundingClientRect();
    spent.push(performance.now() - start);
  }
  return spent;
}"""
"""Time of each move of the threshold, in ms, until script and layout are done."""


@dataclass
class Server:
    """The app as a process.

    Parameters
    ----------
    process : subprocess.Popen
    url : str
    seconds : float
        From its start until it said where it is.
    """

    process: subprocess.Popen
    url: str
    seconds: float

    def peak_mb(self) -> float | None:
        """Largest resident memory so far, in MB; None where the system does not tell."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        except OSError:
            return None
        line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
        return int(line.split()[1]) * 1024 / 1e6 if line else None

    def cpu_s(self) -> float | None:
        """Processor time spent so far, in seconds; None where the system does not tell."""
        import os

        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Received:
    """Bytes that came over the wire, as they were compressed.

    Parameters
    ----------
    parts : dict
        Address to bytes.
    """

    parts: dict[str, int] = field(default_factory=dict)

    def watch(self, page: Any) -> None:
        """Count what a page receives from now on."""
        page.on("requestfinished", self._finished)

    def _finished(self, request: Any) -> None:
        url = f"{request.method} {request.url}"
        self.parts[url] = self.parts.get(url, 0) + request.sizes()["responseBodySize"]

    def kb(self, *words: str) -> float:
        """Kilobytes of the addresses that hold any of the words; of all without words."""
        return sum(n for url, n in self.parts.items() if not words or any(word in url for word in words)) / 1e3


DATA = (".json", "/component_server", "/run/", "/queue/")
"""Words in the addresses of a page's data, as against its scripts and styles."""


def measure_explorer(bundle: Path | str, app: Path = APP, repeats: int = 3) -> dict[str, Any]:
    """Open a bundle in the explorer and take its times.

    Parameters
    ----------
    bundle : Path or str
        With audio of some clips; the first dataset and target are visited.
    app : Path
        ``app.py`` of the version that is measured.
    repeats : int, >= 1
        Visits of each page, every one in a fresh browser profile; medians are given.

    Returns
    -------
    dict
        `start_s`, `start_cpu_s`, `peak_rss_mb`, `pages_s` (page to seconds), `page_s` (the slowest of them),
        `click_to_audio_ms`, `condition_swap_ms`, `condition_drawn_ms`, `threshold_move_ms`, `payload_kb` (what a
        dataset's first view receives), `payload_all_conditions_kb`, `server_cpu_s`, and `bars`, as `BARS`. Medians;
        None where a measure does not exist here.

    Raises
    ------
    InputError
        If the bundle cannot be read, playwright or chromium is missing, or the app does not start.
    """
    bundle = Path(bundle)
    audible = _audible(bundle)
    with _browser() as browser, _server(bundle, app) as server:
        found: dict[str, Any] = {"start_s": round(server.seconds, 2), "start_cpu_s": server.cpu_s()}
        pages = {name: [_visit(browser, server.url, name) for _ in range(repeats)] for name in PAGES}
        found["pages_s"] = {name: round(median(times), 2) for name, times in pages.items()}
        found["page_s"] = max(found["pages_s"].values())
        found |= _dataset(browser, server.url, audible)
        found |= {"peak_rss_mb": server.peak_mb(), "server_cpu_s": server.cpu_s(), "bars": BARS}
    return found


def _audible(bundle: Path) -> list[str]:
    """Ids of the first dataset's clips that can be heard."""
    clips = read_bundle(bundle).clips
    first = clips[clips["dataset"] == clips["dataset"].iloc[0]]["clip_id"]
    return [clip_id for clip_id in first if audio_file(bundle, clip_id).is_file()]


@contextmanager
def _server(bundle: Path, app: Path) -> Iterator[Server]:
    """Run the app on a free port until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    begun = time.perf_counter()
    command = [sys.executable, str(app), "--bundle", str(bundle.resolve()), "--port", str(port)]
    process = subprocess.Popen(command, cwd=app.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stderr is not None
        said = next((line for line in process.stdout if "The explorer is at" in line), None)
        if said is None:
            raise InputError(f"the explorer did not start: {process.stderr.read().strip()[-300:]}")
        yield Server(process, f"http://127.0.0.1:{port}", time.perf_counter() - begun)
    finally:
        process.send_signal(signal.SIGINT)  # as Ctrl-C does, so that it removes the folder it serves from
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _browser() -> Iterator[Any]:
    """Give a chromium, or say in a sentence what is missing."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise InputError(
            "the explorer's pages are timed with the package playwright: pip install playwright"
        ) from error
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        except Error as error:
            raise InputError("the explorer's pages are timed in chromium: apt-get install chromium") from error
        yield browser
        browser.close()


def _visit(browser: Any, url: str, name: str) -> float:
    """Seconds until a page is open, in a fresh profile."""
    path, selector = PAGES[name]
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    begun = time.perf_counter()
    page.goto(url + path, wait_until="commit")
    page.wait_for_selector(selector, state="attached" if "input" in selector else "visible")
    seconds = time.perf_counter() - begun
    context.close()
    return seconds


def _dataset(browser: Any, url: str, audible: list[str]) -> dict[str, Any]:
    """Everything that is timed on the Dataset page."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.add_init_script(WATCH)
    received = Received()
    received.watch(page)
    page.goto(url + "/dataset")
    page.wait_for_selector('.linked[data-ready="true"]')
    _quiet(page, received)
    views = [url for url in received.parts if "/scores-" in url][:1]
    other = received.kb("/scores-") - received.kb(*views)
    whole = received.kb(*DATA)
    found: dict[str, Any] = {"payload_kb": round(whole - other, 1), "payload_all_conditions_kb": round(whole, 1)}
    clips = page.evaluate(LONELY, [audible[: 40 * CLICKS], CLICKS])
    found["click_to_audio_ms"] = _median([_click(page, clip) for clip in clips])
    found |= _swaps(page, clips[0])
    found["threshold_move_ms"] = _median(page.evaluate(THRESHOLD, MOVES))
    context.close()
    return found


def _quiet(page: Any, received: Received, seconds: float = 1.5) -> None:
    """Wait until a page has received nothing for so long."""
    while True:
        before = dict(received.parts)
        page.wait_for_timeout(1000 * seconds)
        if received.parts == before:
            return


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(median(known), 2) if known else None


def _click(page: Any, clip: str) -> float | None:
    """Milliseconds from the click on a clip's point until its sound; None where another point lies over it."""
    where = page.evaluate(
        "(id) => { const e = window.explorer, i = e.base.id.indexOf(id), l = e.scatter.chart._fullLayout;"
        "const b = e.scatter.chart.getBoundingClientRect(), p = e.scatter.points; if (p.y[i] === null) return null;"
        "return [b.left + l.xaxis._offset + l.xaxis.d2p(p.x[i]), b.top + l.yaxis._offset + l.yaxis.d2p(p.y[i])]; }",
        clip,
    )
    if where is None:
        return None
    from playwright.sync_api import TimeoutError as Late

    page.evaluate("() => { explorer.pick(null); document.querySelector('[data-part=note]').textContent = ''; }")
    page.mouse.move(where[0] - 2, where[1] - 2)
    page.mouse.move(*where)
    try:
        page.wait_for_function("() => document.querySelector('.hoverlayer .hovertext')", timeout=CLICK_PATIENCE)
        page.mouse.click(*where)
        page.wait_for_function(HEARD, timeout=CLICK_PATIENCE)
    except Late:
        return None
    bench = page.evaluate("window.bench")
    return bench["heard"] - bench["input"] if bench["heard"] else None


def _swaps(page: Any, clip: str) -> dict[str, float | None]:
    """Milliseconds from the click on a condition until it sounds, and until the charts show it."""
    count = page.evaluate("window.explorer.catalog.inputs.length")
    page.evaluate("(id) => window.explorer.pick(window.explorer.base.id.indexOf(id))", clip)
    page.wait_for_function(f"() => window.explorer.panel.player.buffers.size === {count}")
    heard, drawn = [], []
    for k in [*range(1, count), 0] * 2:
        page.evaluate("() => { const p = window.explorer.panel.player; p.seek(0); return p.playing || p.play(); }")
        page.locator(f'[data-input="{k}"]').click()
        page.wait_for_function(SHOWN, arg=k)
        bench = page.evaluate("({...window.bench, now: performance.now()})")
        heard.append(bench["heard"] - bench["input"] if bench["heard"] else None)
        drawn.append(bench["now"] - bench["input"])
    return {"condition_swap_ms": _median(heard), "condition_drawn_ms": _median(drawn)}


if __name__ == "__main__":
    print(json.dumps(measure_explorer(Path(sys.argv[1])), indent=1))
