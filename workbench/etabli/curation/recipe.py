"""Curation recipes: which rows, which filters in which order, and which sources are protected."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from etabli.core import trust
from etabli.core.config_files import list_mistakes, read_yaml, write_yaml
from etabli.core.errors import BadInput, BadRecipe
from etabli.core.provenance import FromFile
from etabli.core.trust import Code
from etabli.curation import embedding
from etabli.curation.filters import KINDS, AnyFilter
from etabli.data.dataset import find_path

DEFAULT = ({"filter": "exact"}, {"filter": "near"}, {"filter": "quality"}, {"filter": "contamination"})


class Protect(BaseModel):
    """Keep small sources: each value of ``by`` keeps ``least`` rows, if it has so many and there are two values.

    Rows come back from filters of opinion (near, semantic, language, length, quality). Exact duplicates, rows that
    give the evaluation away and rows that a person dropped do not come back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: str = "source"
    least: int = Field(default=10, ge=0)


class CurationRecipe(FromFile):
    """Everything that decides which rows of ``data`` are trained, without the decisions of people.

    ``eval_data``: the evaluation data; its rows with the split ``test``, or all its rows, must not be in the training
    rows. By default it is the rows of ``data`` with the split ``test``. ``decisions``: the file of people's decisions;
    by default it is beside the data.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str = Field(min_length=1)
    eval_data: str | None = None
    filters: tuple[AnyFilter, ...] = Field(DEFAULT, validate_default=True)
    protect: Protect = Protect()
    encoder: str = embedding.DEFAULT
    decisions: str | None = None
    seed: int = Field(0, ge=0, lt=2**63)

    def __init__(self, /, **keys: object):
        try:
            super().__init__(**keys)
        except ValidationError as error:
            raise BadRecipe(list_mistakes(error, _known_keys())) from None

    @classmethod
    def load(cls, path: str | Path) -> "CurationRecipe":
        """Read a recipe from YAML.

        Raises:
            BadRecipe: all mistakes, each with its key.
        """
        try:
            return cls(**read_yaml(path)).read_from(path)
        except BadRecipe as error:
            raise BadRecipe(error.problems, str(path)) from None

    def save(self, path: str | Path) -> None:
        """Write the recipe as YAML.

        Raises:
            BadRecipe: it holds a secret.
        """
        write_yaml(path, self.keys())

    def keys(self) -> dict[str, Any]:
        """Return the keys with plain values, as they are written to YAML."""
        return self.model_dump(mode="json")

    def compute_hash(self) -> str:
        """Return the hash of the keys that decide which rows stay, and of the files with rules or encoders."""
        paths = ("data", "eval_data", "decisions")
        keys = {name: value for name, value in self.keys().items() if name not in paths}
        file_hashes = [code.sha256 for code in self.code()]
        return hashlib.sha256(json.dumps([keys, file_hashes], sort_keys=True).encode()).hexdigest()

    def code(self) -> list[Code]:
        """Return the Python files that the recipe names, without running them.

        Raises:
            BadInput: a file does not exist.
        """
        rules = [trust.read_code(step.rules, "rules") for step in self.filters if step.filter == "own"]
        path, separator, _ = self.encoder.rpartition(":")
        return [*rules, trust.read_code(path, "encoders")] if separator else rules

    def require_trust(self, trust_code: bool = False) -> None:
        """Check that the user trusts the named Python files; who makes a recipe in Python trusts them by naming them.

        Raises:
            UntrustedCode: the user does not trust a file yet.
            BadInput: a file does not exist.
        """
        if self.file is None:
            trust.remember(self.code())
        else:
            trust.require(self.code(), trust_code, f"etabli.curate({str(self.file)!r}, trust_code=True)")

    def locate_files(self, recipe_file: Path | None) -> "CurationRecipe":
        """Return the recipe with paths seen from here; in the recipe they are seen from ``recipe_file``.

        Raises:
            BadInput: a file of rules or an encoder does not exist.
        """
        steps = [
            step.model_copy(update={"rules": _locate_file(step.rules, recipe_file)}) if step.filter == "own" else step
            for step in self.filters
        ]
        path, separator, function_name = self.encoder.rpartition(":")
        encoder = f"{_locate_file(path, recipe_file)}:{function_name}" if separator else self.encoder
        return self.model_copy(update={"filters": tuple(steps), "encoder": encoder})

    def with_filter(self, name: str, **keys: object) -> "CurationRecipe":
        """Return the recipe with changed keys of a filter; a filter that it does not have is added at the end."""
        steps: list[dict[str, object]] = self.keys()["filters"]
        position = next((place for place, step in enumerate(steps) if step["filter"] == name), len(steps))
        old_keys = steps[position] if position < len(steps) else {"filter": name}
        steps[position : position + 1] = [{**old_keys, **keys}]
        return CurationRecipe(**self.keys() | {"filters": steps})


def _locate_file(name: str, recipe_file: Path | None) -> str:
    path = find_path(name, recipe_file)
    if not path.is_file():
        raise BadInput(f"There is no file {name}, which the curation recipe names. Correct its path in the recipe.")
    return str(path)


def _known_keys() -> list[str]:
    protect_keys = [f"protect.{name}" for name in Protect.model_fields]
    return [*CurationRecipe.model_fields, *protect_keys, *(name for kind in KINDS for name in kind.model_fields)]
