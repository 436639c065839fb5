"""A project: the data and the model that the notebooks of one folder work on, kept in ``project.yaml``.

>>> project = etabli.Project.open(data="mails.csv", columns={"prompt": "mail", "completion": "reply"}) # doctest: +SKIP
>>> project.prepare()       # reads mails.csv, sets test rows aside, writes datasets/mails    # doctest: +SKIP
>>> etabli.Project.open().dataset()    # in the next notebook: datasets/mails, or why it is stale    # doctest: +SKIP
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from etabli.app.leaving_out import ERRORS, find_rows, require_codes
from etabli.checks.check import check
from etabli.checks.report import Report
from etabli.core import terminal
from etabli.core.config_files import list_mistakes, read_yaml, write_yaml
from etabli.core.contracts import ROWS, Row
from etabli.core.errors import BadInput, BadRecipe, BadRows, MissingData
from etabli.core.progress import show_progress
from etabli.core.wording import count_of
from etabli.curation.groups import with_copy_groups
from etabli.data.content import hash_source
from etabli.data.dataset import Dataset
from etabli.data.names import split_entry
from etabli.data.parquet_rows import HOME_COMMANDS
from etabli.data.reading.source import read_with_notes
from etabli.data.samples import ABOUT, CUSTOMER_MAILS, customer_mails
from etabli.models import chat_templates

FILE = "project.yaml"
_OF_THE_DATA = ("name", "columns", "lang", "leave_out")  # they describe one source: another source begins without them


class Project(BaseModel):
    """What is trained, and on what; the same for all notebooks of a folder.

    ``data``: ``home-commands``, ``customer-mails``, a file, a Dataset folder or the name of a Hub data set. ``name``:
    the data set is written to ``datasets/NAME``; by default it is made from ``data``. ``columns``: the format's name
    -> the file's. ``lang``: the language of rows that state none. ``leave_out``: findings of the check whose rows are
    left out, such as ``empty-answer``; ``error`` is all errors. ``model``: a Hub id or a folder; None is what suits
    this machine. ``template``: the chat template of a base model, which has none: ``alpaca``, ``chatml``, ``plain`` or
    a Jinja file. ``run``: the folder of the run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str = Field(HOME_COMMANDS, min_length=1)
    name: str = Field("", pattern=r"^(\w[\w.-]*)?$")
    columns: dict[str, str] = {}
    lang: str | None = None
    leave_out: list[str] = []
    model: str | None = None
    template: str | None = Field(None, min_length=1)
    run: str = Field("runs/first", min_length=1)

    @field_validator("leave_out")
    @classmethod
    def _check_codes(cls, codes: list[str]) -> list[str]:
        return require_codes(codes)

    @classmethod
    @show_progress("opening the project")
    def open(cls, **changes: object) -> "Project":
        """Return the project of the current folder, with ``changes`` written into its ``project.yaml``.

        A change of None or ``""`` means: as it was. Another ``data`` begins without the old ``name``, ``columns``,
        ``lang`` and ``leave_out``, which described the old one. What has changed is printed.

        Raises:
            BadRecipe: all mistakes, each with its key.
        """
        saved = read_yaml(FILE) if Path(FILE).exists() else {}
        changes = {key: _plain(value) for key, value in changes.items() if value not in (None, "")}
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

    def _write(self, saved: dict[str, object]) -> None:
        keys = self.model_dump()
        for key in [key for key in keys if saved and keys[key] != saved.get(key)]:
            terminal.say(f"{FILE}: {key} was {saved.get(key)!r} and is now {keys[key]!r}")
        if keys != saved:
            write_yaml(FILE, keys)

    @property
    def about(self) -> str:
        """What the data are, for the reader of a notebook."""
        return ABOUT.get(self.data, f"Your own data: {self.data}.")

    @property
    def folder(self) -> str:
        """The folder of the data set, relative to the folder of the notebooks."""
        return f"datasets/{self.name}"

    @show_progress("checking the data")
    def check(self, rows: list[Row] | None = None, **options: Any) -> Report:
        """Return ``etabli.check`` of ``rows`` or of the source; it also reports on a source that ``read`` refuses."""
        if rows is None:
            columns = self.columns or None
            return check(self.data, model=self.model, columns=columns, **self._template(), **self._lineage(), **options)
        report = check(rows, model=self.model, **self._template(), **options)
        report.name = self.data
        return report

    def read(self) -> list[Row]:
        """Return the rows of the source, with the project's columns and language. How many are left out is printed.

        Raises:
            BadData: there is no such source, or rows that are not left out have errors.
        """
        return self._select(None)[0]

    def _select(self, rows: list[Row] | None) -> tuple[list[Row], dict[str, int]]:
        """Return the rows that stay, of ``rows`` or of the source, and how many are left out for each finding."""
        code_of_row = self._find_left_out(rows)
        counts = dict(Counter(code_of_row.values()))
        if code_of_row:
            codes = ", ".join(f"{code} {count}" for code, count in counts.items())
            terminal.say(f"{count_of(len(code_of_row), 'row')} of {self.data} left out, as {FILE} says: {codes}.")
        if rows is None and (self.data == HOME_COMMANDS or (Path(self.data) / ROWS).is_file()):
            rows = Dataset.open(self.data).rows
        if rows is None:
            return self._read_without(code_of_row), counts
        return [row for number, row in enumerate(rows) if number not in code_of_row], counts

    def _read_without(self, row_numbers: Collection[int]) -> list[Row]:
        try:
            outcome = read_with_notes(self.data, None, self.columns or None, self._lineage(), row_numbers)
        except BadRows as error:
            hint = f"\nTo leave such rows out: LEAVE_OUT = [{ERRORS!r}] in 01_data, etabli tour --leave-out {ERRORS}."
            raise BadRows(f"{error}{'' if ERRORS in self.leave_out else hint}") from None
        terminal.say(*(f"{self.data}: {text}" for text in outcome.warnings()))
        return outcome.rows

    def _find_left_out(self, rows: list[Row] | None) -> dict[int, str]:
        """Return the numbers of the rows to leave out, each with the first finding that is a reason."""
        return find_rows(self.check(rows), self.leave_out) if self.leave_out else {}

    def template_text(self) -> str | None:
        """Return the template as ``etabli.load`` takes it: its name, or the text of its file; None without one.

        Raises:
            BadInput: there is no such template.
        """
        return chat_templates.read_template(self.template) if self.template else None

    def _template(self) -> dict[str, Any]:
        return {"template": self.template} if self.template else {}

    def _lineage(self) -> dict[str, str]:
        return {"lang": self.lang} if self.lang else {}

    @show_progress("preparing the data set")
    def prepare(self, rows: list[Row] | None = None, facts: Mapping[str, object] | None = None) -> Dataset:
        """Write the data set of this project with test rows set aside, and return it.

        Args:
            rows: rows that come from the source; by default it is read. Rows that are near-copies of each other get
                the same ``copy_group`` and are all trained, all held out or all tested.
            facts: what else made ``rows``, for the manifest.

        Raises:
            BadData: as ``read``. BadInput: it would replace its own source.
        """
        if _is_same(self.data, self.folder):
            raise BadInput(f"{self.folder} is the source itself, and would be replaced: choose another name.")
        rows, left_out = self._select(rows)
        recipe = {"source": self._origin(), "left_out": left_out, **(facts or {})}
        return Dataset(with_copy_groups(rows), recipe).with_test().save(self.folder)

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
            if now.get("sha256") is None and origin.get("sha256") and not Path(self.data).exists():
                raise MissingData(
                    f"{self.data} is gone, so nobody can tell whether {self.folder} was made from what it held. Put it "
                    f"back, or name the data set itself: DATA = {self.folder!r} in 01_data."
                )
            changes = [f"{key} was {_short(origin.get(key))}, is {_short(now[key])}" for key in changed]
            raise BadInput(
                f"{self.folder} is stale, since it was made from something else: {'; '.join(changes)}. Run 01_data "
                "again, or call etabli.Project.open().prepare(), which replaces it."
            )
        return self.folder

    def _origin(self) -> dict[str, object]:
        """Return what decides the rows: the source, how it is read, and the hash of its content."""
        source = str(customer_mails()) if self.data == CUSTOMER_MAILS else self.data
        return self.model_dump(include={"data", *_OF_THE_DATA} - {"name"}) | {"sha256": hash_source(source)}


def _short(value: object) -> str:
    """Return a value for a message; of a hash the first digits tell enough."""
    return value[:8] if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) else repr(value)


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _name_for(data: str) -> str:
    """Return a folder name for a source: ``mails`` for ``in/mails.csv``; never that of the source itself."""
    stem = Path(split_entry(data)[0]).name.split(".")[0]
    name = re.sub(r"[^\w-]+", "-", stem).strip("-") or "mine"
    return f"{name}-split" if _is_same(data, f"datasets/{name}") else name


def _is_same(data: str, folder: str) -> bool:
    return Path(data).resolve() == Path(folder).resolve()
