"""Reading a dataset on the hub piece by piece, with `datasets` in streaming mode, and saying what went wrong.

Nothing is decoded by `datasets`: an audio column gives its encoded bytes. A split is read in parts, which are the row
groups of its Parquet files, often of a hundred clips each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from precompute.clips import InputError
from precompute.corpora.hub import HubCorpus

CONVERTED = "refs/convert/parquet"
"""Branch on which the hub keeps its own Parquet conversion, up to 5 GB of a split (folder ``partial-SPLIT``)."""


class Part(NamedTuple):
    """A part of a split: which file, and which row group in it."""

    split: str
    file: int
    group: int


class Place(NamedTuple):
    """What is read: a commit, and whether it is one of the hub's own conversion."""

    commit: str
    converted: bool


@dataclass(frozen=True)
class Source:
    """A dataset that was found on the hub; rows are fetched when they are asked for.

    Parameters
    ----------
    corpus : HubCorpus
    place : Place
    splits : mapping of str to datasets.IterableDataset
    opened : dict
        Files whose footer was fetched.
    """

    corpus: HubCorpus
    place: Place
    splits: Mapping[str, Any]
    opened: dict[tuple[str, int], Any] = field(default_factory=dict)

    def n_files(self, split: str) -> int:
        """Files of a split."""
        return self.splits[split].num_shards

    def n_groups(self, split: str, file: int) -> int:
        """Row groups of a file; its footer is fetched to know."""
        with sentences(self.corpus):
            return self._file(split, file).num_shards

    def rows(self, part: Part) -> Iterator[dict[str, Any]]:
        """Fetch the rows of a part: encoded audio, and categories by their names."""
        with sentences(self.corpus):
            file = self._file(part.split, part.file)
            rows = file.shard(num_shards=file.num_shards, index=part.group)
            features = rows.features
            for row in encoded(rows, self.corpus):
                yield {name: category(cell, features.get(name)) for name, cell in row.items()}

    def _file(self, split: str, file: int) -> Any:
        if (split, file) not in self.opened:
            whole = self.splits[split].shard(num_shards=self.n_files(split), index=file)
            self.opened[split, file] = whole.reshard()
        return self.opened[split, file]


def open_source(corpus: HubCorpus, place: Place | None = None) -> Source:
    """Find a dataset on the hub and check that it has the splits and columns that the corpus names.

    A repository that does not hold Parquet (a loading script, which `datasets` no longer runs, or loose audio files) is
    read from the hub's own conversion.

    Parameters
    ----------
    corpus : HubCorpus
    place : Place or None
        None takes the newest commit of the corpus's revision.

    Returns
    -------
    Source

    Raises
    ------
    InputError
        If it is not there, not allowed, not reachable, of the wrong form, or not as the corpus says.
    """
    with sentences(corpus), quiet():
        if place is None:
            place = Place(newest(corpus, corpus.revision), corpus.revision == CONVERTED)
        splits = load(corpus, place)
        if splits is None:
            place = converted(corpus)
            splits = load(corpus, place) or {}
    for split in dict.fromkeys((*corpus.member_splits, *corpus.non_member_splits)):
        if split not in splits:
            raise InputError(f"{corpus.hub_id} has no split {split}, only {', '.join(splits)}")
        if missing := corpus.columns.missing(splits[split].features):
            raise InputError(
                f"{corpus.hub_id}: split {split} has no column {' and no column '.join(missing)}, only "
                f"{', '.join(splits[split].features)}"
            )
    return Source(corpus, place, splits)


def newest(corpus: HubCorpus, revision: str) -> str:
    """Commit that a revision is at now."""
    from huggingface_hub import HfApi

    return HfApi().dataset_info(str(corpus.hub_id), revision=revision).sha or revision


def load(corpus: HubCorpus, place: Place) -> Mapping[str, Any] | None:
    """Open every split of a corpus's configuration.

    Returns
    -------
    mapping of str to datasets.IterableDataset, or None
        None where the repository does not hold Parquet.
    """
    import datasets
    from datasets.packaged_modules.parquet.parquet import Parquet

    # The conversion has no card that would name configurations: there they are folders.
    files = converted_files(corpus, place.commit) if place.converted else None
    config = None if place.converted else corpus.config
    try:
        builder = datasets.load_dataset_builder(str(corpus.hub_id), config, revision=place.commit, data_files=files)
    except RuntimeError as error:
        if "scripts are no longer supported" not in str(error):
            raise
        return None
    return builder.as_streaming_dataset() if isinstance(builder, Parquet) else None


def converted(corpus: HubCorpus) -> Place:
    """Find the hub's own conversion of a dataset that does not hold Parquet."""
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        return Place(newest(corpus, CONVERTED), True)
    except RevisionNotFoundError as error:
        raise InputError(
            f"{corpus.hub_id} holds no Parquet files but a loading script, which is no longer run, or loose files, and "
            f"the hub has not converted it{folder_hint(corpus)}"
        ) from error


def converted_files(corpus: HubCorpus, commit: str) -> dict[str, str]:
    """Parquet files of each split of a configuration on the conversion branch, ``SPLIT`` or ``partial-SPLIT``.

    Returns
    -------
    dict of str to str
        Split to glob.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFolder

    def folders(under: str | None) -> list[str]:
        tree = HfApi().list_repo_tree(str(corpus.hub_id), under, revision=commit, repo_type="dataset")
        return [entry.path for entry in tree if isinstance(entry, RepoFolder)]

    config, configs = corpus.config or "default", folders(None)
    if config not in configs:
        raise InputError(f"{corpus.hub_id} has no configuration {config}, only {', '.join(configs) or 'none'}")
    names = {path: path.rpartition("/")[2].removeprefix("partial-") for path in folders(config)}
    return {name: f"{path}/*.parquet" for path, name in names.items()}


def encoded(rows: Any, corpus: HubCorpus) -> Any:
    """Keep the columns that are needed (others might want decoding), and the audio as encoded bytes."""
    import datasets

    rows = rows.select_columns(corpus.columns.used(list(rows.features)))
    if isinstance(rows.features[corpus.columns.audio], datasets.Audio):
        rows = rows.cast_column(corpus.columns.audio, datasets.Audio(decode=False))
    return rows


def category(cell: Any, feature: Any) -> Any:
    """Name of a category that a column stores as a number; anything else as it is."""
    if cell is None or not hasattr(feature, "int2str"):
        return cell
    return feature.int2str(cell) if cell >= 0 else None  # -1 marks a category that is withheld


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the progress bars of `datasets`: the draw has one."""
    import datasets

    shown = datasets.are_progress_bars_disabled() is False
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


@contextmanager
def sentences(corpus: HubCorpus) -> Iterator[None]:
    """Turn what the hub's libraries raise into one sentence that says what to do."""
    import pyarrow
    from huggingface_hub.errors import HTTPError

    try:
        yield
    except InputError:
        raise
    except (OSError, HTTPError, ValueError, RuntimeError, pyarrow.ArrowException) as error:
        raise InputError(sentence(corpus, error)) from error


def sentence(corpus: HubCorpus, error: Exception) -> str:
    """Say in one sentence why a dataset cannot be read.

    Parameters
    ----------
    corpus : HubCorpus
    error : Exception
        As raised by `datasets` or `huggingface_hub`.

    Returns
    -------
    str
    """
    from datasets.data_files import EmptyDatasetError
    from datasets.exceptions import DataFilesNotFoundError, DatasetNotFoundError
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    page = f"huggingface.co/datasets/{corpus.hub_id}"
    causes = list(chain(error))
    if any(isinstance(cause, GatedRepoError) or "gated dataset" in str(cause) for cause in causes):
        return f"{corpus.hub_id} is gated: ask for access at {page}, then run `hf auth login`{folder_hint(corpus)}"
    if any(isinstance(cause, RevisionNotFoundError) for cause in causes):
        return f"{corpus.hub_id} has no revision {corpus.revision}"
    if any(isinstance(cause, RepositoryNotFoundError | DatasetNotFoundError) for cause in causes):
        return f"no such dataset on the hub: {corpus.hub_id} (if it is private, run `hf auth login` first)"
    if any(isinstance(cause, DataFilesNotFoundError | EmptyDatasetError) for cause in causes):
        return f"{corpus.hub_id} holds no files that can be read as a dataset"
    if "BuilderConfig" in str(error) or "Config name is missing" in str(error):
        wanted = f"has no configuration {corpus.config}" if corpus.config else "has several configurations"
        return f"{corpus.hub_id} {wanted}: there are {', '.join(listed_names(str(error)))}"
    if any(isinstance(cause, HfHubHTTPError) for cause in causes):
        return f"{corpus.hub_id}: the hub refused ({first_line(error)})"
    if any(isinstance(cause, ConnectionError | TimeoutError) or is_transport(cause) for cause in causes):
        return f"the hub cannot be reached for {corpus.hub_id} ({first_line(error)})"
    return f"{corpus.hub_id} cannot be read ({first_line(error)})"


def listed_names(message: str) -> list[str]:
    """Names in the list that ends a message of `datasets`: "Available: ['all', 'clean']"."""
    return re.findall(r"'([^']+)'", message[message.find("[") :].partition("]")[0])


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Follow an error to what it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_transport(error: BaseException) -> bool:
    """Whether an error is of the connection: `huggingface_hub` lets those of its HTTP client through."""
    from huggingface_hub.errors import HTTPError

    return isinstance(error, HTTPError)


def folder_hint(corpus: HubCorpus) -> str:
    """Say that a folder will do, where one will."""
    return f", or give {corpus.name}=FOLDER of the original distribution" if corpus.local_layout else ""


def first_line(error: BaseException) -> str:
    """Start of an error message, for use inside a sentence."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")[:200]
