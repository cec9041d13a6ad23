"""All pages of the explorer, put together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from explorer import evidence, grid, method, overview, score_page
from explorer.catalog import FITS, TEXTS
from explorer.columns import SCORE_COLUMNS, as_json
from explorer.parts import header
from explorer.served import STATIC, Served
from explorer.single import Scorer, bundle_scorer
from precompute.clips import InputError

TITLE = "Audio membership audit"
TABLE_HEADS = ["clip", "class", "planted truth", "seconds", "{text}", "blind score", "membership score"]
"""Heads of the table of clips; ``{text}`` is what the dataset's texts are called."""
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def build_site(served: Served, score: Scorer | None = None) -> gr.Blocks:
    """Build every page on a bundle; nothing is launched.

    Parameters
    ----------
    served : Served
        The bundle's columns and the files a browser may fetch.
    score : Scorer or None
        Scores an uploaded clip; None loads the bundle's own target when first asked.

    Returns
    -------
    gr.Blocks
    """
    catalog = served.catalog
    gr.set_static_paths(served.paths)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as site:
        _top("/", served)
        _plain(overview.overview(catalog))
        with gr.Tabs():
            with gr.Tab("Across datasets"):
                _plain(overview.heatmaps(catalog))
            with gr.Tab("The paper’s tables"):
                _plain(overview.published())
    with site.route("Dataset", "dataset"):
        _top("/dataset", served)
        _dataset_page(served)
    with site.route("Evidence", "evidence"):
        _top("/evidence", served)
        shown = evidence.page(catalog, served.columns)
        gr.HTML(shown, apply_default_css=False, js_on_load=_call(served, "site.js", "sections(element)"))
    with site.route("Conditions", "conditions"):
        _top("/conditions", served)
        gr.HTML(grid.page(catalog), apply_default_css=False, js_on_load=_call(served, "site.js", "sections(element)"))
    with site.route("Score a clip", "score"):
        _top("/score", served)
        score_page.build(catalog, served.url, score or bundle_scorer(catalog))
    with site.route("Method", "method"):
        _top("/method", served)
        _plain(method.page(catalog))
    return site


def launch_options(served: Served) -> dict[str, Any]:
    """Look and limits, which Gradio 6 takes at launch."""
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.gray,
        neutral_hue=gr.themes.colors.gray,
        radius_size=gr.themes.sizes.radius_md,
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        button_primary_background_fill="#17191e",
        button_primary_background_fill_dark="#eceef2",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#0f1115",
        body_background_fill="#ffffff",
        body_background_fill_dark="#0f1115",
        block_background_fill="#ffffff",
        block_background_fill_dark="#0f1115",
        block_border_color="#e4e6ea",
        block_border_color_dark="#2a2e37",
        block_shadow="none",
        input_border_width="1px",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
    )
    css = "\n".join((STATIC / name).read_text(encoding="utf-8") for name in ("site.css", "linked.css"))
    return {
        "theme": theme,
        "head": f"<style>{css}</style>",
        "max_file_size": "10mb",
        "footer_links": ["api"],
        "ssr_mode": False,
        "blocked_paths": [str(Path.cwd() / ".git")],
    }


def _plain(html: str) -> gr.HTML:
    return gr.HTML(html, apply_default_css=False, js_on_load=None)


def _call(served: Served, script: str, call: str) -> str:
    """JavaScript that imports a served module and calls one of its functions."""
    return (
        f"(async()=>{{const m=await "
        f"import((window.gradio_config?.root??'')+{as_json(f'{served.url}/{script}')});m.{call};}})()"
    )


def _top(active: str, served: Served) -> None:
    gr.Navbar(visible=False)
    gr.HTML(header(active), apply_default_css=False, js_on_load=_call(served, "site.js", "header(element)"))


def _dataset_page(served: Served) -> None:
    """Linked view above, table below; each can choose the clip of the other."""

    def clips(numbers: list) -> str:
        return served.clips(*numbers)

    def scores(numbers: list) -> str:
        return served.scores(*numbers)

    def why(numbers: list) -> str:
        return served.why(*numbers)

    def clip(numbers: list) -> dict[str, object]:
        return served.clip(*numbers)

    def listen(numbers: list) -> dict[str, str]:
        return served.listen(*numbers)

    linked = gr.HTML(
        value={},
        html_template=(STATIC / "linked.html").read_text(encoding="utf-8"),
        js_on_load=_linked_script(served),
        apply_default_css=False,
        elem_classes=["page"],
        server_functions=[clips, scores, why, clip, listen],
        catalog=served.catalog.for_browser(),
        files=served.url,
        elem_id="linked",
    )
    table = gr.Dataframe(
        headers=[head.format(text="text") for head in TABLE_HEADS],
        datatype=["str", "str", "str", "number", "str", "number", "number"],
        interactive=False,
        show_label=False,
        max_height=460,
        wrap=False,
        column_widths=["270px", "110px", "130px", "90px", "330px", "120px", "170px"],
        elem_id="clips",
        buttons=[],
    )

    def fill(event: gr.EventData) -> pd.DataFrame:
        return table_of(served, event._data)

    def choose(event: gr.SelectData) -> dict[str, str]:
        return {"clip": str(event.row_value[0])}

    linked.view(fill, None, table, trigger_mode="always_last", **QUIET)
    table.select(choose, None, linked, trigger_mode="always_last", **QUIET)


def _linked_script(served: Served) -> str:
    return (
        f"(async()=>{{const m=await import((window.gradio_config?.root??'')+{as_json(served.url + '/linked.js')});"
        "const send=(data)=>trigger('view',data);"
        "const linked=await m.mount(element,{files:props.files,catalog:props.catalog,server,trigger:send});"
        "watch('value',()=>linked.receive(props.value));})()"
    )


def table_of(served: Served, request: dict[str, Any]) -> pd.DataFrame:
    """Rows of the table for the filter and order that the page asks for.

    Parameters
    ----------
    served : Served
    request : dict
        From the browser, so everything in it is checked: `dataset, target, input` numbers, `text, fit, family` names,
        `rows` clip numbers in order.

    Returns
    -------
    pd.DataFrame
        Columns `TABLE_HEADS`, in the words of the dataset.

    Raises
    ------
    InputError
        If anything is not what the page offers.
    """
    catalog, columns = served.catalog, served.columns
    d = served.index(request.get("dataset"), len(catalog.datasets))
    t = served.index(request.get("target"), len(catalog.targets))
    k = served.index(request.get("input"), len(catalog.inputs))
    text, fit, family = request.get("text"), request.get("fit"), request.get("family")
    if text not in TEXTS or fit not in FITS or family not in catalog.families:
        raise InputError("no such choice")
    clips = columns.clips[d]
    rows = [served.index(row, len(clips)) for row in request.get("rows", [])]
    scored = columns.rows(d, t, k, str(text))
    values = scored[SCORE_COLUMNS[str(fit)]].to_numpy(float) if scored is not None else [float("nan")] * len(clips)
    trained = scored["trained"].tolist() if scored is not None and "trained" in scored else [None] * len(clips)
    told = ["trained on" if value is True else "not trained on" if value is False else "" for value in trained]
    blind = columns.blind_column(d, str(family))
    word = catalog.words(catalog.datasets[d]["name"]).text
    filled = (
        clips["clip_id"],
        ["member" if label else "non-member" for label in clips["label"]],
        told,
        clips["duration_s"].astype(float).round(2),
        clips["text"].fillna(""),
        pd.Series(blind, dtype=float).round(3),
        pd.Series(values, dtype=float).round(4),
    )
    heads = [head.format(text=word) for head in TABLE_HEADS]
    return pd.DataFrame(dict(zip(heads, filled, strict=True))).iloc[rows]
