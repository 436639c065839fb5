"""Stream data sets of the Hub with the package ``datasets``, if it is installed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etabli.core.errors import MissingExtra, OutsideFolder, Unreadable
from etabli.data.notes import Note, escape_invisible
from etabli.data.reading import tables
from etabli.data.reading.jsonfiles import Record
from etabli.data.reading.opening import path_exists

SUFFIXES = {
    *(".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".tab", ".txt", ".md"),
    *(".parquet", ".arrow", ".zip", ".yaml", ".yml"),
}

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True)
class HubSet:
    """A data set of the Hub, and which part of it: a configuration, a revision, files, a split; None is all of it."""

    name: str
    config: str | None = None
    revision: str | None = None
    data_files: tuple[str, ...] = ()
    split: str | None = None


def is_hub_name(name: str) -> bool:
    """Return whether a name is ``owner/name``, no path that exists, and without the ending of a data file."""
    a_file = Path(name.removesuffix(".gz")).suffix.lower() in SUFFIXES
    return name.count("/") == 1 and not path_exists(name) and not a_file and name[0] not in "./~"


def stream_records(hub_set: HubSet, notes: list[Note]) -> Iterator[Record]:
    """Yield the records of a Hub data set, each with its split; splits that are not read are added to ``notes``.

    Raises:
        MissingExtra: the package ``datasets`` is not installed.
        Unreadable: the Hub can't be reached, or the data set can't be read, or has several configurations.
    """
    from etabli.core import machine

    if not _NAME.fullmatch(hub_set.name) or path_exists(hub_set.name):
        raise Unreadable("no-file", f"{escape_invisible(hub_set.name)} is no name of a Hub data set: owner/name.")
    _require_inside(hub_set)
    try:
        import datasets
    except ImportError:
        raise MissingExtra("Hub data sets are read with the package datasets: pip install datasets") from None
    if not machine.hub_reachable():
        why = f"There is no file {hub_set.name}, and the Hub can't be reached to look for a data set of that name."
        raise Unreadable("no-file", why)
    return stream_set(hub_set, datasets, notes)


def _require_inside(hub_set: HubSet) -> None:
    """Refuse files that are not the data set's own: the package would read them from this machine or the network."""
    for name in hub_set.data_files:
        if Path(name).is_absolute() or ".." in Path(name).parts or ":" in name:
            raise OutsideFolder(
                f"{hub_set.name}: data_files names {escape_invisible(name)!r}, no file of the data set."
            )


def stream_set(hub_set: HubSet, datasets: Any, notes: list[Note]) -> Iterator[Record]:
    """Yield the records of a data set that the package ``datasets`` can load; see ``stream_records``."""
    try:
        yield from _load(hub_set, datasets, notes)
    except Unreadable:
        raise
    except Exception as error:  # any error, also after some rows: report the name and the reason
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise Unreadable("unreadable", f"The Hub data set {hub_set.name} can't be read: {reason}") from error


def _load(hub_set: HubSet, datasets: Any, notes: list[Note]) -> Iterator[Record]:
    options: dict[str, object] = {"revision": hub_set.revision} if hub_set.revision else {}
    if hub_set.data_files:
        options["data_files"] = list(hub_set.data_files)
    if int(datasets.__version__.partition(".")[0]) < 4:
        options["trust_remote_code"] = False
    _require_one_config(hub_set, datasets.get_dataset_config_names(hub_set.name, **options))
    parts = datasets.load_dataset(hub_set.name, hub_set.config, split=hub_set.split, streaming=True, **options)
    yield from tables.read_parts(parts if isinstance(parts, dict) else {"": parts}, hub_set.name, notes)


def _require_one_config(hub_set: HubSet, names: list[str]) -> None:
    """Refuse a configuration that there is not, and several configurations of which none is the default."""
    shown_names = escape_invisible(", ".join(names)[:1000])
    if hub_set.config and hub_set.config not in names:
        why = f"{hub_set.name} has no configuration {escape_invisible(hub_set.config)!r}; it has {shown_names}."
        raise Unreadable("unreadable", why)
    if not hub_set.config and len(names) > 1 and "default" not in names:
        why = f"{hub_set.name} has the configurations {shown_names}: name one, as {hub_set.name}#{names[0]}."
        raise Unreadable("unreadable", why)
