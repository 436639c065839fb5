"""The split of a row: ``train``, ``validation`` or ``test``, however a file spells it."""

import re

from etabli.core.contracts import Row

TRAIN, VALIDATION, TEST = "train", "validation", "test"
_SPELLINGS = {
    **dict.fromkeys(("train", "training", "trainset"), TRAIN),
    **dict.fromkeys(("validation", "valid", "val", "dev", "devel", "development", "eval", "evaluation"), VALIDATION),
    **dict.fromkeys(("test", "testing", "testset", "holdout", "heldout"), TEST),
}


def split_name(mark: str) -> str | None:
    """Return the split that a mark or a file name means: ``Test``, ``dev``, ``test_sft``, ``valid-00000-of-00002``.

    None if it means none of the three, or two of them.
    """
    words = re.split("[^a-z]+", mark.casefold())
    names = {_SPELLINGS[word] for word in words if word in _SPELLINGS}
    return names.pop() if len(names) == 1 else None


def split_group(row: Row) -> str:
    """Return the group of a row that a split keeps together: its template, its near-copies, or the row alone."""
    return row.get("template") or row.get("copy_group") or row["id"]


def is_for_training(row: Row) -> bool:
    """Return whether a row may be trained: it is not marked as one to validate or to test with."""
    return row.get("split") not in (VALIDATION, TEST)
