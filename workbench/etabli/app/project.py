"""A project: the data and the model that the notebooks of one folder work on, kept in ``project.yaml``.

>>> project = etabli.Project.open(data="mails.csv", columns={"prompt": "mail", "completion": "reply"}) # doctest: +SKIP
>>> project.prepare()       # reads mails.csv, sets test rows aside, writes datasets/mails    # doctest: +SKIP
>>> etabli.Project.open().dataset()    # in the next notebook: datasets/mails, or why it is stale    # doctest: +SKIP
"""

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from etabli.core import storage, terminal
from etabli.core.config_files import list_mistakes, read_yaml, write_yaml
from etabli.core.contracts import ROWS, Row
from etabli.core.errors import BadInput, BadRecipe
from etabli.curation.groups import group_near_copies
from etabli.data.dataset import Dataset
from etabli.data.parquet_rows import HOME_COMMANDS
from etabli.data.reading.source import read
from etabli.data.samples import CUSTOMER_MAILS, customer_mails

FILE = "project.yaml"
_OF_THE_DATA = ("name", "columns", "lang")  # they describe one source: another source begins without them


class Project(BaseModel):
    """What is trained, and on what; the same for all notebooks of a folder.

    ``data``: ``home-commands``, ``customer-mails``, a file, a Dataset folder or the name of a Hub data set. ``name``:
    the data set is written to ``datasets/NAME``; by default it is made from ``data``. ``columns``: the format's name
    -> the file's. ``lang``: the language of rows that state none. ``model``: a Hub id or a folder; None is what suits
    this machine.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str = Field(HOME_COMMANDS, min_length=1)
    name: str = Field("", pattern=r"^[\w.-]*$")
    columns: dict[str, str] = {}
    lang: str | None = None
    model: str | None = None

    @classmethod
    def open(cls, **changes: Any) -> "Project":
        """Return the project of the current folder, with ``changes`` written into its ``project.yaml``.

        A change of None or ``""`` means: as it was. Another ``data`` begins without the old ``name``, ``columns`` and
        ``lang``, which described the old one. What has changed is printed.

        Raises:
            BadRecipe: all mistakes, each with its key.
        """
        saved = read_yaml(FILE) if Path(FILE).exists() else {}
        changes = {key: _plain(value) for key, value in changes.items() if value not in (None, "", {})}
        kept = saved
        if changes.get("data", saved.get("data")) != saved.get("data"):
            kept = {key: value for key, value in saved.items() if key not in _OF_THE_DATA}
        try:
            project = cls(**(kept | changes))
        except ValidationError as error:
            raise BadRecipe(list_mistakes(error, tuple(cls.model_fields)), FILE) from None
        project = project.model_copy(update={"name": project.name or _name_for(project.data)})
        project._write(saved)
        return project

    def _write(self, saved: dict[str, Any]) -> None:
        keys = self.model_dump()
        for key in [key for key in keys if saved and keys[key] != saved.get(key)]:
            terminal.say(f"{FILE}: {key} was {saved.get(key)!r} and is now {keys[key]!r}")
        if keys != saved:
            write_yaml(FILE, keys)

    @property
    def source(self) -> str | Path:
        """What ``etabli.check`` and ``etabli.read`` take: a path, a name, or the path of the bundled sample."""
        return customer_mails() if self.data == CUSTOMER_MAILS else self.data

    @property
    def folder(self) -> str:
        """The folder of the data set, relative to the folder of the notebooks."""
        return f"datasets/{self.name}"

    def read(self) -> list[Row]:
        """Return the rows of the source, with the project's columns and language.

        Raises:
            BadData: there is no such source, or rows have errors.
        """
        lineage = {"lang": self.lang} if self.lang else {}
        if self.data == HOME_COMMANDS or (Path(self.data) / ROWS).is_file():
            return Dataset.open(self.data).rows
        return read(self.source, columns=self.columns or None, **lineage)

    def prepare(self, rows: list[Row] | None = None) -> Dataset:
        """Write the data set of this project with test rows set aside, and return it.

        Args:
            rows: rows that come from the source; by default it is read. Rows that are near-copies of each other are
                all trained or all tested.

        Raises:
            BadData: as ``read``.
        """
        rows = self.read() if rows is None else rows
        data = Dataset(rows, {"source": self._origin()}).with_test(groups=group_near_copies(rows))
        return data.save(self.folder)

    def dataset(self) -> str:
        """Return the folder of the data set; it is made first if it is not there.

        Raises:
            BadInput: it was made from another source, from other columns, or the file has changed since.
        """
        if not (Path(self.folder) / ROWS).is_file():
            self.prepare()
            return self.folder
        origin, now = Dataset.open(self.folder).recipe.get("source"), self._origin()
        if origin is not None and origin != now:
            changed = [key for key in now if origin.get(key) != now[key]]
            changes = [f"{key} was {_short(origin.get(key))}, is {_short(now[key])}" for key in changed]
            raise BadInput(
                f"{self.folder} is stale, since it was made from something else: {'; '.join(changes)}. Run 01_data "
                "again, or call etabli.Project.open().prepare(), which replaces it."
            )
        return self.folder

    def _origin(self) -> dict[str, Any]:
        """Return what decides the rows: the source, how it is read, and the hash of its content."""
        return {"data": self.data, "columns": self.columns, "lang": self.lang, "sha256": _hash_of(Path(self.source))}


def _short(value: object) -> str:
    """Return a value for a message; of a hash the first digits tell enough."""
    return value[:8] if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) else repr(value)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _name_for(data: str) -> str:
    """Return a folder name for a source: ``mails`` for ``in/mails.csv``."""
    stem = Path(data.partition("#")[0]).name.split(".")[0]
    return re.sub(r"[^\w-]+", "-", stem).strip("-") or "mine"


def _hash_of(source: Path) -> str | None:
    """Return the sha256 of a file, or of the rows of a Dataset folder; None for a name of no file."""
    path = source / ROWS if source.is_dir() else source
    return storage.sha256(path) if path.is_file() else None
