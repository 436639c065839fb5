"""Recipes that know which file they were read from. Whether their code may run depends on it (see ``trust``)."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, PrivateAttr


class FromFile(BaseModel):
    """A recipe with the file it was read from; None if it was made from keys in Python.

    Two recipes of one class are equal if their keys are equal.
    """

    _file: Path | None = PrivateAttr(None)

    @property
    def file(self) -> Path | None:
        """Return the file it was read from, or None."""
        return self._file

    def read_from(self, file: str | Path | None) -> Self:
        """Set the file it was read from, and return the recipe itself."""
        self._file = None if file is None else Path(file)
        return self

    def __eq__(self, recipe: object) -> bool:
        return isinstance(recipe, FromFile) and type(self) is type(recipe) and self.model_dump() == recipe.model_dump()
