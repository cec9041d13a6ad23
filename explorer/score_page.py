"""The Score a clip page: bring or record a clip, see where it falls among known members and non-members."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from explorer.catalog import Catalog, Words
from explorer.columns import as_json
from explorer.parts import known, table
from explorer.single import (
    MAX_MEGABYTES,
    MAX_SECONDS,
    Scorer,
    example_path,
    known_scores,
    score_upload,
    something_else,
)
from precompute.clips import InputError

try:  # on a Space with borrowed GPUs the call that needs one has to say so; elsewhere this is nothing
    import spaces

    on_gpu = spaces.GPU(duration=60)
except ImportError:

    def on_gpu(function):
        """Leave a function as it is: there is no GPU to borrow."""
        return function


INTRO = (
    '<div class="page"><h1>Score a clip of your own</h1><p class="text">It is played to the target, and its '
    "score is set "
    "beside clips whose membership is known. The answer is how many known non-members score as high, never that a clip "
    f"“was in training”. At most {MAX_SECONDS:.0f} s and {MAX_MEGABYTES} MB; the file is deleted as soon as it "
    f"is scored.</p></div>"
)
EMPTY = (
    '<div class="page"><p class="muted">Choose a file, record something, or take an example: the result '
    "appears here.</p></div>"
)


def build(catalog: Catalog, files: str, score: Scorer) -> None:
    """Add the page's components and listeners to the open Blocks.

    Parameters
    ----------
    catalog : Catalog
    files : str
        Address of the served folder.
    score : Scorer
    """
    gr.HTML(INTRO, apply_default_css=False)
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            audio = gr.Audio(sources=["upload", "microphone"], type="filepath", label="Your clip", editable=False)
            names = [(catalog.label(d["name"]), d["name"]) for d in catalog.datasets]
            dataset = gr.Dropdown(names, value=names[0][1] if names else None, label="Compare with clips of")
            ids = [t["id"] for t in catalog.targets]
            target = gr.Dropdown(ids, value=ids[0] if ids else None, label="Target")
            text = gr.Textbox(label="What is said in it, or its caption (optional)", max_length=1000, lines=1)
            go = gr.Button("Score this clip", variant="primary")
            gr.HTML('<div class="page"><p class="muted small">Or try one:</p></div>', apply_default_css=False)
            with gr.Row():
                examples = [
                    gr.Button(name, size="sm", min_width=100)
                    for name in ("A known member", "A known non-member", "A chord, no speech")
                ]
        with gr.Column(scale=3, min_width=320):
            result = gr.HTML(EMPTY, apply_default_css=False, js_on_load=_on_load(files), elem_id="result")
            with gr.Accordion("The numbers, as the API returns them", open=False):
                numbers = gr.JSON(label="score", show_label=False)

    @on_gpu
    def run(path: str | None, dataset: str, target: str, text: str = "", progress=gr.Progress()) -> dict[str, Any]:  # noqa: B008
        """Score an audio file (at most 30 s, 10 MB) against the known clips of a dataset, with one of its targets."""
        try:
            return score_upload(
                path, dataset, target, text, catalog, score, lambda share, what: progress(share, desc=what)
            )
        finally:
            forget(path)

    def show(found: dict[str, Any] | None) -> str:
        return result_html(found or {}, catalog)

    chosen = [audio, dataset, target, text]
    model: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model", "show_progress_on": [result]}
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    done = [go.click(run, chosen, numbers, api_name="score", **model)]
    for which, button in enumerate(examples):
        taken = button.click(lambda d, which=which: _example(catalog, d, which), dataset, audio, **private)
        done.append(taken.then(run, chosen, numbers, api_visibility="private", **model))
    for event in done:
        event.then(show, numbers, result, **private).then(lambda: None, None, audio, **private)


def _on_load(files: str) -> str:
    return (
        f"(async()=>{{const m=await import((window.gradio_config?.root??'')+{as_json(files + '/result.js')});"
        "m.result(element,watch);})()"
    )


def forget(path: str | Path | None) -> None:
    """Delete an uploaded file, and only ever one that lies in Gradio's own upload folder."""
    if not path:
        return
    from gradio.utils import get_upload_folder

    file = Path(path).resolve()
    if file.is_relative_to(Path(get_upload_folder()).resolve()):
        file.unlink(missing_ok=True)


def _example(catalog: Catalog, dataset: str, which: int) -> tuple[int, Any] | None:
    """Rate and samples of an example; a copy goes to Gradio's folder, the bundle's file is never touched."""
    if which == 2:
        return something_else()
    import soundfile

    try:
        samples, rate = soundfile.read(example_path(catalog, dataset, 1 - which), dtype="int16")
    except InputError as error:
        gr.Warning(str(error))
        return None
    return rate, samples


def result_html(found: dict[str, Any], catalog: Catalog) -> str:
    """HTML of one result: sentence, histogram with pins, what was written, and the controls."""
    if "error" in found or "clip" not in found:
        return (
            f'<div class="page"><p class="error" '
            f'role="alert">{escape(found.get("error", "Nothing was scored."))}</p></div>'
        )
    clip = found["clip"]
    refused = bool(clip.get("refusal"))
    picture = "" if refused else _histogram(found, catalog)
    return (
        f'<div class="page" aria-live="polite"><h2>{"No comparison" if refused else "Where it falls"}</h2>'
        f'<p class="lead">{escape(found["sentence"])}</p>{picture}{_facts(clip)}'
        f"<h3>What the model wrote</h3><p>{escape(clip['generated_text'] or '(nothing)')}</p>{_tokens(clip['tokens'])}"
        f"{_controls(found, catalog.words(found['dataset']))}<p class='muted small'>Compared with "
        f"{escape(catalog.title(found['dataset']))} under {escape(found['target'])}, {found['seconds']:.1f} s of "
        "audio. The file has been deleted.</p></div>"
    )


def _histogram(found: dict[str, Any], catalog: Catalog) -> str:
    if not known(found["clip"].get("score")):
        return ""
    pins = [{"value": found["clip"]["score"], "label": "this clip"}]
    data = {**known_scores(catalog, found["dataset"], found["target"]), "pins": pins}
    said = (
        f"Histogram of known members and non-members; this clip scores {found['clip']['score']:.3f}. "
        f"{found['sentence']}"
    )
    return (
        f'<figure class="card"><div class="chart" role="img" aria-label="{escape(said)}" '
        f'data-histogram="{escape(as_json(data))}"></div>'
        '<p class="legend muted"><span class="swatch member"></span>known members <span class="swatch '
        'nonmember"></span>known non-members</p></figure>'
    )


def _facts(clip: dict[str, Any]) -> str:
    """Blind score, and how much the clip looks like the dataset."""
    blind = clip.get("blind") or {}
    like = "" if clip.get("refusal") else f'<p class="muted small">{escape(str(clip.get("reason") or ""))}</p>'
    if not known(blind.get("score")):
        return like
    share = blind.get("share_non_members")
    ranked = f" {100 * share:.0f}% of known non-members look at least as member-like." if share is not None else ""
    return (
        f"<p>Blind score {blind['score']:.2f}, before any model hears it.{ranked} "
        f'<span class="muted small">{escape(str(blind.get("method", "")).capitalize())}.</span></p>{like}'
    )


def _tokens(tokens: list[dict[str, Any]]) -> str:
    cells = "".join(
        f'<span class="token" style="--sure:{math.exp(-t["nll"]):.3f}" role="listitem" title="probability '
        f'{100 * math.exp(-t["nll"]):.0f}%">{escape(_piece(t["text"]))}</span>'
        for t in tokens
    )
    return f'<div class="tokens" role="list" aria-label="Tokens, darker is surer">{cells}</div>' if cells else ""


def _piece(token: str) -> str:
    """Token as shown: marks of the end by a word, a bare space by a sign."""
    return "end" if token.startswith("<|") and token.endswith("|>") else token.strip() or "␣"


def _controls(found: dict[str, Any], words: Words) -> str:
    """Rows of the clip itself, silence and the resynthesis."""
    rows = [_control("as it is", found["clip"]), _control("silence of the same length", found["silence"])]
    if found.get("voice"):
        rows.append(_control(f"what it wrote, in {words.other}", found["voice"]))
    note = f'<p class="muted small">{escape(found["voice_note"])}</p>' if found.get("voice_note") else ""
    return "<h3>The same under other audio</h3>" + table(("audio", "score", "the model wrote"), rows) + note


def _control(name: str, clip: dict[str, Any]) -> list[str]:
    value = f"{clip['score']:.3f}" if known(clip.get("score")) else "none"
    return [escape(name), value, escape(clip["generated_text"] or "(nothing)")]
