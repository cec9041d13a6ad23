"""The files a browser may fetch: one curated temporary folder, and the bundle's audio. Nothing else."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import get_ident
from urllib.parse import quote

import numpy as np

from explorer import grid
from explorer.catalog import FITS, TEXTS, Catalog, Words
from explorer.columns import Columns, as_json
from explorer.evidence import changes, section, steps
from precompute.bundle import audio_file, audio_name
from precompute.clips import SAMPLE_RATE, Clip, InputError
from precompute.conditions import FIXED_SECONDS, render

STATIC = Path(__file__).parent / "static"
LONG_AGO = 1_500_000_000
SILENT = ("silence", "silence_fixed")
KEPT_NOISE = 400
"""Rendered files that are kept, some 100 MB; the oldest go first and are made again when somebody listens."""


def plotly_file() -> Path:
    """plotly.js of the installed plotly package, found without importing it."""
    found = importlib.util.find_spec("plotly")
    if found is None or not found.submodule_search_locations:
        raise InputError("the package plotly is not installed; run `make setup`")
    return Path(next(iter(found.submodule_search_locations))) / "package_data" / "plotly.min.js"


def url_of(path: Path) -> str:
    """Address of a served file, below the app's root."""
    return "/gradio_api/file=" + quote(path.as_posix())


def date_back(path: Path) -> None:
    """Give a file an old date, so that browsers keep it.

    Gradio sends no Cache-Control, and then the rule of browsers is a tenth of the file's age. Nothing goes stale by it:
    the folder, and with it every address, is new with each start.
    """
    os.utime(path, (LONG_AGO, LONG_AGO))


@contextmanager
def _in_place(path: Path) -> Iterator[Path]:
    """Give a file of this thread's own to write, and move it into place when it is whole.

    Two visitors may make the same file at once; each makes a whole one, and nobody waits for a file that is not asked
    for.
    """
    part = path.with_name(f"{path.name}.{get_ident()}.part")
    yield part
    part.replace(path)


@dataclass
class Served:
    """Served files of one bundle; everything is built when first asked for.

    Parameters
    ----------
    columns : Columns
    folder : Path
        Fresh and ours alone: every file in it may be fetched by anybody.
    """

    columns: Columns
    folder: Path

    @classmethod
    def open(cls, catalog: Catalog) -> Served:
        """Make the folder and put scripts and plotly.js into it."""
        folder = Path(tempfile.mkdtemp(prefix="audit-explorer-")).resolve()
        for script in (*STATIC.glob("*.js"), plotly_file()):
            date_back(Path(shutil.copy(script, folder)))
        return cls(Columns(catalog), folder)

    @property
    def catalog(self) -> Catalog:
        """Names behind the numbers."""
        return self.columns.catalog

    @property
    def paths(self) -> list[Path]:
        """Folders to allow: this one and the bundle's audio."""
        return [self.folder, (self.catalog.bundle.path / "audio").resolve()]

    @property
    def url(self) -> str:
        """Address of the folder."""
        return url_of(self.folder)

    def warm(self) -> None:
        """Make now what the first click would wait for: the index of the tokens."""
        with suppress(InputError):  # a bundle without tokens says so where somebody asks for them
            self.catalog.bundle.stored("tokens").prepare()

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, name: str, make: Callable[[], object]) -> str:
        path = self.folder / name
        if not path.exists():
            with _in_place(path) as part:
                part.write_text(as_json(make()), encoding="utf-8")
                date_back(part)
        return url_of(path)

    def clips(self, dataset: int) -> str:
        """Address of a dataset's columns."""
        d = self.index(dataset, len(self.catalog.datasets))
        return self._file(f"clips-{d}.json", lambda: self.columns.clips_file(d))

    def texts(self, dataset: int) -> str:
        """Address of the known texts of a dataset."""
        d = self.index(dataset, len(self.catalog.datasets))
        return self._file(f"texts-{d}.json", lambda: self.columns.texts_file(d))

    def scores(self, dataset: int, target: int, index: int, text: int, fit: int) -> str:
        """Address of the scores of a dataset, target, input, scored text and fit, all by their numbers."""
        d, t, k = self._view(dataset, target, index)
        x, f = self.index(text, len(TEXTS)), self.index(fit, len(FITS))
        names = (list(TEXTS)[x], list(FITS)[f])
        return self._file(f"scores-{d}-{t}-{k}-{x}-{f}.json", lambda: self.columns.scores_file(d, t, k, *names))

    def _view(self, dataset: int, target: int, index: int) -> tuple[int, int, int]:
        """Check the numbers of a dataset, a target and an input."""
        return (
            self.index(dataset, len(self.catalog.datasets)),
            self.index(target, len(self.catalog.targets)),
            self.index(index, len(self.catalog.inputs)),
        )

    def evidence(self, dataset: int, target: int) -> str:
        """Address of the evidence of a dataset and target, as HTML."""
        d, t, _ = self._view(dataset, target, 0)
        return self._file(f"evidence-{d}-{t}.json", lambda: section(self.catalog, self.columns, d, t))

    def grid(self, dataset: int, target: int, fit: int) -> str:
        """Address of the grid of conditions of a dataset, target and fit, as HTML."""
        d, t, _ = self._view(dataset, target, 0)
        f = self.index(fit, len(FITS))
        names = (self.catalog.datasets[d]["name"], self.catalog.targets[t]["id"], list(FITS)[f])
        return self._file(f"grid-{d}-{t}-{f}.json", lambda: grid.section(self.catalog, *names))

    def why(self, dataset: int, target: int) -> str:
        """HTML of the questions behind a verdict, and of what would change it."""
        name = self.catalog.datasets[self.index(dataset, len(self.catalog.datasets))]["name"]
        used = self.catalog.targets[self.index(target, len(self.catalog.targets))]["id"]
        row = self.catalog.verdicts.get((name, used), {})
        return steps(row) + changes(row)

    def sources(self, dataset: int, clip: int) -> dict[str, object]:
        """Where to hear a clip, and its known text: what a click needs first, and no table is read for it."""
        d = self.index(dataset, len(self.catalog.datasets))
        i = self.index(clip, len(self.columns.clips[d]))
        text = self.columns.clips[d]["text"].iloc[i]
        return {
            "sources": [self._source(d, i, k) for k in range(len(self.catalog.inputs))],
            "text": text if isinstance(text, str) else None,
        }

    def clip(self, dataset: int, target: int, clip: int) -> dict[str, object]:
        """Give what a target wrote about a clip, its scores and tokens."""
        d, t, _ = self._view(dataset, target, 0)
        i = self.index(clip, len(self.columns.clips[d]))
        return {"rows": self.columns.clip_rows(d, t, i), "tokens": self.columns.clip_tokens(d, t, i)}

    def indicators(self, dataset: int, target: int, clip: int, index: int, text: int) -> dict[str, float | None]:
        """Give the indicators of a clip under one input and scored text, by name."""
        d, t, k = self._view(dataset, target, index)
        i = self.index(clip, len(self.columns.clips[d]))
        return self.columns.clip_indicators(d, t, i, k, list(TEXTS)[self.index(text, len(TEXTS))])

    def _words(self, d: int) -> Words:
        return self.catalog.words(self.catalog.datasets[d]["name"])

    def _source(self, d: int, i: int, k: int) -> dict[str, object]:
        """How the browser gets one input of a clip: a file, silence of its own making, or `listen`."""
        used = self.catalog.inputs[k]
        row = self.columns.clips[d].iloc[i]
        if used.condition in SILENT:
            fixed = used.condition == "silence_fixed"
            return {
                "kind": "silence",
                "seconds": self.fixed_seconds(used.condition) if fixed else float(row["duration_s"]),
            }
        path = audio_file(self.catalog.bundle.path, row["clip_id"], used.condition, used.realization)
        if path.is_file():
            return {"kind": "file", "url": url_of(path.resolve())}
        original = audio_file(self.catalog.bundle.path, row["clip_id"])
        if not used.condition.startswith("noise") or not original.is_file():
            return {
                "kind": "missing",
                "sentence": f"This bundle holds no audio of this clip for “{used.label(self._words(d))}”.",
            }
        return {"kind": "render"}

    def fixed_seconds(self, condition: str) -> float:
        """Length of a fixed condition in this audit."""
        rows = self.catalog.bundle.audit["conditions"]
        found = next((row.get("fixed_seconds") for row in rows if row["name"] == condition), None)
        return float(found or FIXED_SECONDS)

    def listen(self, dataset: int, clip: int, index: int) -> dict[str, str]:
        """Render noise for a clip when somebody first listens to it, and say where it is."""
        d = self.index(dataset, len(self.catalog.datasets))
        i = self.index(clip, len(self.columns.clips[d]))
        used = self.catalog.inputs[self.index(index, len(self.catalog.inputs))]
        if not used.condition.startswith("noise"):
            raise InputError(f"{used.label(self._words(d))} is not made on listening")
        clip_id = str(self.columns.clips[d]["clip_id"].iloc[i])
        path = self.folder / f"{used.condition}-{used.realization}-{audio_name(clip_id)}.flac"
        if not path.exists():
            self._render(path, clip_id, used.condition, used.realization)
        return {"url": url_of(path)}

    def _render(self, path: Path, clip_id: str, condition: str, realization: int) -> None:
        import soundfile

        source = audio_file(self.catalog.bundle.path, clip_id)
        samples = read_light(source)
        noise = render(
            condition,
            Clip(clip_id, source),
            samples,
            realization,
            int(self.catalog.bundle.audit.get("seed", 0)),
            fixed_seconds=self.fixed_seconds(condition),
        )
        older = sorted(self.folder.glob("*.flac"), key=lambda file: file.stat().st_mtime)
        for file in older[: max(0, len(older) + 1 - KEPT_NOISE)]:
            file.unlink(missing_ok=True)
        with _in_place(path) as part:
            soundfile.write(part, noise, SAMPLE_RATE, format="FLAC", subtype="PCM_16")

    @staticmethod
    def index(value: object, count: int) -> int:
        """Check a number that came from a browser: a whole number in range, nothing else."""
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
            raise InputError("no such row")
        return value


def read_light(path: Path) -> np.ndarray:
    """Read a file as mono float32 at `SAMPLE_RATE`, with the resampler of ``librosa.resample`` but not librosa.

    Parameters
    ----------
    path : Path

    Returns
    -------
    np.ndarray [shape=(n,)], float32

    Raises
    ------
    InputError
        If the file is missing or no audio.
    """
    import soundfile
    import soxr

    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError("this file cannot be read as audio") from error
    mono = samples.mean(axis=1)
    return mono if rate == SAMPLE_RATE else soxr.resample(mono, rate, SAMPLE_RATE, quality="HQ").astype(np.float32)
