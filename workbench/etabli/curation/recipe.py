"""A curation recipe: which rows, which filters in which order, what is protected. Saved, hashed, run again."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from etabli.core import trust
from etabli.core.config_files import mistakes, read_yaml, write_yaml
from etabli.core.errors import BadInput, BadRecipe
from etabli.core.provenance import FromFile
from etabli.core.trust import Code
from etabli.curation import embedding
from etabli.curation.filters import KINDS, AnyFilter
from etabli.data.dataset import located

DEFAULT = ({"filter": "exact"}, {"filter": "near"}, {"filter": "quality"}, {"filter": "contamination"})


class Protect(BaseModel):
    """What is not to be wiped out: each value of ``by`` keeps ``least`` rows if it has so many, where there are two.

    Rows come back from filters of opinion (near, semantic, language, length, quality); copies word for word, what gives
    the evaluation away and what a person dropped do not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: str = "source"
    least: int = Field(10, ge=0)


class CurationRecipe(FromFile):
    """Everything that decides which rows of ``data`` are trained, but for what people decide.

    ``eval_data`` is what must not be given away: its rows marked ``test``, or all; by default the rows of ``data``
    that are marked ``test``. ``decisions`` is the file of what people decided, by default beside the data.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str = Field(min_length=1)
    eval_data: str | None = None
    filters: tuple[AnyFilter, ...] = Field(DEFAULT, validate_default=True)
    protect: Protect = Protect()
    encoder: str = embedding.DEFAULT
    decisions: str | None = None
    seed: int = Field(0, ge=0, lt=2**63)

    def __init__(self, /, **keys: Any):
        try:
            super().__init__(**keys)
        except ValidationError as error:
            raise BadRecipe(mistakes(error, _known())) from None

    @classmethod
    def load(cls, path: str | Path) -> "CurationRecipe":
        """Read a recipe from YAML.

        Raises:
            BadRecipe: every mistake at once, each with its key.
        """
        try:
            return cls(**read_yaml(path)).read_from(path)
        except BadRecipe as error:
            raise BadRecipe(error.problems, str(path)) from None

    def save(self, path: str | Path) -> None:
        """Write it as YAML.

        Raises:
            BadRecipe: it holds a secret.
        """
        write_yaml(path, self.keys())

    def keys(self) -> dict[str, Any]:
        """Plain values, as they are written to YAML."""
        return self.model_dump(mode="json")

    @property
    def hash(self) -> str:
        """Changes when a key does that decides which rows stay, or a file of rules or encoders it names."""
        said = {name: value for name, value in self.keys().items() if name not in ("data", "eval_data", "decisions")}
        held = [code.sha256 for code in self.code()]
        return hashlib.sha256(json.dumps([said, held], sort_keys=True).encode()).hexdigest()

    def code(self) -> list[Code]:
        """The Python files that it names; nothing is run.

        Raises:
            BadInput: a file that is not there.
        """
        rules = [trust.read_code(step.rules, "rules") for step in self.filters if step.filter == "own"]
        path, mark, _ = self.encoder.rpartition(":")
        return [*rules, trust.read_code(path, "encoders")] if mark else rules

    def agree(self, trust_code: bool = False) -> None:
        """Ask for the yes to these files: who made the recipe in this program says it by naming them.

        Raises:
            UntrustedCode: that yes is missing; BadInput: a file that is not there.
        """
        if self.file is None:
            trust.remember(self.code())
        else:
            trust.require(self.code(), trust_code, f"etabli.curate({str(self.file)!r}, trust_code=True)")

    def found(self, near: Path | None) -> "CurationRecipe":
        """The same with files that lie beside the recipe (``near``) named from here.

        Raises:
            BadInput: rules or an encoder that are not there.
        """
        steps = [
            step.model_copy(update={"rules": _file(step.rules, near)}) if step.filter == "own" else step
            for step in self.filters
        ]
        path, mark, function = self.encoder.rpartition(":")
        encoder = f"{_file(path, near)}:{function}" if mark else self.encoder
        return self.model_copy(update={"filters": tuple(steps), "encoder": encoder})

    def with_filter(self, name: str, **keys: Any) -> "CurationRecipe":
        """The same with other keys of a filter; one that is not there yet is added at the end."""
        steps = self.keys()["filters"]
        mine = next((step for step in steps if step["filter"] == name), None)
        changed = [{**step, **keys} if step is mine else step for step in steps]
        return CurationRecipe(**self.keys() | {"filters": changed if mine else [*steps, {"filter": name, **keys}]})


def _file(name: str, near: Path | None) -> str:
    place = located(name, near)
    if not place.is_file():
        raise BadInput(f"There is no file {name}, which the curation recipe names.")
    return str(place)


def _known() -> list[str]:
    keys = [*CurationRecipe.model_fields, *(f"protect.{name}" for name in Protect.model_fields)]
    return keys + [name for kind in KINDS for name in kind.model_fields]
