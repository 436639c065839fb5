"""Recipes that know which file they were read from: who wrote a file is not told by who reads it."""

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, PrivateAttr


class FromFile(BaseModel):
    """A recipe; ``file`` is where it was read, None if it was made from keys in Python. Recipes of one kind are equal
    if their keys are."""

    _file: Path | None = PrivateAttr(None)

    @property
    def file(self) -> Path | None:
        """The file it was read from."""
        return self._file

    def read_from(self, file: str | Path | None) -> Self:
        """The same recipe, which says from now on that it was read from this file."""
        self._file = None if file is None else Path(file)
        return self

    def __eq__(self, other: Any) -> bool:
        return type(self) is type(other) and self.model_dump() == other.model_dump()
