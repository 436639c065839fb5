"""Stream data sets of the Hub with the package ``datasets``, if it is installed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etabli.core.errors import MissingExtra, Unreadable
from etabli.data.reading import tables
from etabli.data.reading.jsonfiles import Record
from etabli.data.reading.opening import path_exists

SUFFIXES = {
    *(".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".tab", ".txt", ".md"),
    *(".parquet", ".arrow", ".zip", ".yaml", ".yml"),
}


def is_hub_name(name: str) -> bool:
    """Return whether a name is ``owner/name``, no path that exists, and without the ending of a data file."""
    a_file = Path(name.removesuffix(".gz")).suffix.lower() in SUFFIXES
    return name.count("/") == 1 and not path_exists(name) and not a_file and name[0] not in "./~"


def stream_records(name: str) -> Iterator[Record]:
    """Yield the records of the part ``train`` of a Hub data set.

    Raises:
        MissingExtra: the package ``datasets`` is not installed.
        Unreadable: the Hub can't be reached, or the data set can't be read.
    """
    from etabli.core import machine

    try:
        import datasets
    except ImportError:
        raise MissingExtra("Hub data sets are read with the package datasets: pip install datasets") from None
    if not machine.hub_reachable():
        raise Unreadable(
            "no-file", f"There is no file {name}, and the Hub can't be reached to look for a data set of that name."
        )
    return _stream(name, datasets)


def _stream(name: str, datasets: Any) -> Iterator[Record]:
    try:
        scripts = {} if int(datasets.__version__.partition(".")[0]) >= 4 else {"trust_remote_code": False}
        yield from tables.read_in_memory(datasets.load_dataset(name, split="train", streaming=True, **scripts))[1]
    except Exception as error:  # any error, also after some rows: report the name and the reason
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise Unreadable("unreadable", f"The Hub data set {name} can't be read: {reason}") from error
