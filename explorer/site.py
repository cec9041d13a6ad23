"""All pages of the explorer, put together."""

from __future__ import annotations

from collections.abc import Callable
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
TABLE_ROWS = 100
"""Rows of the table at a time."""
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
        _sections(evidence.page(catalog), served, served.evidence)
    with site.route("Conditions", "conditions"):
        _top("/conditions", served)
        _sections(grid.page(catalog), served, served.grid)
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
        "head": f"<style>{css}</style>{early(served)}",
        "max_file_size": "10mb",
        "footer_links": ["api"],
        "ssr_mode": False,
        "blocked_paths": [str(Path.cwd() / ".git")],
    }


def early(served: Served) -> str:
    """Script for the head of every page: on the Dataset page, ask for its modules before Gradio has started."""
    modules = [f"{served.url}/{path.name}" for path in sorted(STATIC.glob("*.js"))]
    return (
        "<script>(()=>{const end=/\\/dataset\\/?$/,path=location.pathname;if(!end.test(path))return;"
        "const root=path.replace(end,''),"
        "add=(tag,rest)=>document.head.append(Object.assign(document.createElement(tag),rest));"
        f"for(const url of {as_json(modules)})add('link',{{rel:'modulepreload',href:root+url}});"
        f"add('script',{{id:'plotly',async:true,src:root+{as_json(served.url + '/plotly.min.js')}}});}})()</script>"
    )


def _plain(html: str) -> gr.HTML:
    return gr.HTML(html, apply_default_css=False, js_on_load=None)


def _sections(html: str, served: Served, made: Callable[..., str]) -> None:
    """Add a page whose section is brought when it is chosen."""

    def section(numbers: list) -> str:
        return made(*numbers)

    script = _call(served, "site.js", "sections(element,server)")
    gr.HTML(html, apply_default_css=False, js_on_load=script, server_functions=[section])


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

    def texts(numbers: list) -> str:
        return served.texts(*numbers)

    def scores(numbers: list) -> str:
        return served.scores(*numbers)

    def why(numbers: list) -> str:
        return served.why(*numbers)

    def sources(numbers: list) -> dict[str, object]:
        return served.sources(*numbers)

    def clip(numbers: list) -> dict[str, object]:
        return served.clip(*numbers)

    def indicators(numbers: list) -> dict[str, float | None]:
        return served.indicators(*numbers)

    def listen(numbers: list) -> dict[str, str]:
        return served.listen(*numbers)

    linked = gr.HTML(
        value={},
        html_template=(STATIC / "linked.html").read_text(encoding="utf-8"),
        js_on_load=_linked_script(served),
        apply_default_css=False,
        elem_classes=["page"],
        server_functions=[clips, texts, scores, why, sources, clip, indicators, listen],
        catalog={**served.catalog.for_browser(), "tableRows": TABLE_ROWS},
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
    rows = [served.index(row, len(clips)) for row in request.get("rows", [])[:TABLE_ROWS]]
    scored = columns.rows(d, t, k, str(text))
    shown, nothing = clips.iloc[rows], [None] * len(rows)
    values = nothing if scored is None else scored[SCORE_COLUMNS[str(fit)]].to_numpy(float)[rows]
    trained = nothing if scored is None or "trained" not in scored else scored["trained"].iloc[rows].tolist()
    word = catalog.words(catalog.datasets[d]["name"]).text
    filled = (
        shown["clip_id"].to_numpy(),
        ["member" if label else "non-member" for label in shown["label"]],
        ["trained on" if value is True else "not trained on" if value is False else "" for value in trained],
        shown["duration_s"].to_numpy(float).round(2),
        shown["text"].fillna("").to_numpy(),
        columns.blind_column(d, str(family))[rows].round(3),
        pd.Series(values, dtype=float).round(4),
    )
    heads = [head.format(text=word) for head in TABLE_HEADS]
    return pd.DataFrame(dict(zip(heads, filled, strict=True)))
