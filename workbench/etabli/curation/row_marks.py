"""The rows that are selected together in a table, by their indices in the data."""

import base64

import numpy as np
from numpy.typing import NDArray

from etabli.core.errors import BadInput
from etabli.curation.histograms import Indices

MARKING = ("replace", "add", "remove")


class RowMarks:
    """Whether each row is selected."""

    def __init__(self, row_count: int):
        self.flags: NDArray[np.bool_] = np.zeros(row_count, bool)

    def __len__(self) -> int:
        return int(self.flags.sum())

    @property
    def rows(self) -> Indices:
        """Indices of the selected rows, in ascending order."""
        return np.flatnonzero(self.flags)

    def change(self, do: str, indices: Indices) -> None:
        """Select only these rows (``replace``), these too (``add``), or no longer these (``remove``).

        Raises:
            BadInput: another word, or a row that there is not. Nothing is changed.
        """
        if do not in MARKING or (indices.size and not 0 <= indices.min() <= indices.max() < len(self.flags)):
            raise BadInput(f"Rows 0 to {len(self.flags) - 1} are selected by {', '.join(MARKING)}: not by {do!r}.")
        if do == "replace":
            self.flags[:] = False
        self.flags[indices] = do != "remove"

    def packed(self) -> str:
        """Return a bit for each row as base64, the first row in the lowest bit of the first byte; "" if none is set."""
        return pack_flags(self.flags) if self.flags.any() else ""


def pack_flags(flags: NDArray[np.bool_]) -> str:
    """Return flags as base64, the first one in the lowest bit of the first byte."""
    return base64.b64encode(np.packbits(flags, bitorder="little").tobytes()).decode()
