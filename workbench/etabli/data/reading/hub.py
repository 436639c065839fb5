"""Data sets of the Hub, streamed through the package ``datasets`` where it is installed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etabli.core.errors import MissingExtra, Unreadable
from etabli.data.reading import tables
from etabli.data.reading.jsonfiles import Record
from etabli.data.reading.opening import is_there

SUFFIXES = {
    "",
    ".json",
    ".jsonl",
    ".ndjson",
    ".csv",
    ".tsv",
    ".tab",
    ".txt",
    ".md",
    ".parquet",
    ".arrow",
    ".zip",
    ".yaml",
    ".yml",
} - {""}


def on_the_hub(name: str) -> bool:
    """``owner/name`` that is no path here and has no ending of a data file."""
    a_file = Path(name.removesuffix(".gz")).suffix.lower() in SUFFIXES
    return name.count("/") == 1 and not is_there(name) and not a_file and name[0] not in "./~"


def records(name: str) -> Iterator[Record]:
    """A data set of the Hub, streamed: its part ``train``."""
    from etabli.core import machine

    try:
        import datasets
    except ImportError:
        raise MissingExtra("Hub data sets are read with the package datasets: pip install datasets") from None
    if not machine.hub_reachable():
        raise Unreadable(
            "no-file", f"There is no file {name}, and the Hub can't be reached to look for a data set of that name."
        )
    return _streamed(name, datasets)


def _streamed(name: str, datasets: Any) -> Iterator[Record]:
    try:
        scripts = {} if int(datasets.__version__.partition(".")[0]) >= 4 else {"trust_remote_code": False}
        yield from tables.in_memory(datasets.load_dataset(name, split="train", streaming=True, **scripts))[1]
    except Exception as error:  # whatever it is, also midway: the person needs the name and the reason
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise Unreadable("unreadable", f"The Hub data set {name} can't be read: {said}") from error
