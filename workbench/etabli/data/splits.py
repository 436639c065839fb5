"""The split of a row: ``train``, ``validation`` or ``test``, however a file spells it."""

import re
import unicodedata
from collections.abc import Collection

from etabli.core.contracts import Row

TRAIN, VALIDATION, TEST = "train", "validation", "test"
_WORDS = {
    TRAIN: (
        *("train", "training", "trainset", "entrainement", "apprentissage", "entrenamiento", "trainieren"),
        *("trainingsdaten", "trainingsmenge", "trainingsset", "addestramento", "treino"),
    ),
    VALIDATION: (
        *("validation", "valid", "val", "dev", "devel", "development", "eval", "evaluation", "valset", "devset"),
        *("validierung", "validierungsdaten", "entwicklung", "validacion", "desarrollo", "evaluacion", "validacao"),
        *("validazione", "developpement"),
    ),
    TEST: (
        *("test", "tests", "testing", "testset", "holdout", "heldout", "devtest", "unseen", "ood", "prueba", "pruebas"),
        *("testdaten", "testmenge", "testen", "prufung", "essai", "teste"),
    ),
}
_SPELLINGS = {word: name for name, words in _WORDS.items() for word in words}
_ONE_WORD = re.compile("(held|hold)[^a-z]+(out)|(dev)[^a-z]+(test)")
_FILLERS = {"set", "split", "data", "row", "rows", "sft", "gen", "matched", "mismatched", "clean", "other"}
_FILLERS |= {"public", "private", "jeu", "de", "d", "conjunto"}
_INNER_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def split_name(mark: str) -> str | None:
    """Return the split that a mark or a file name means: ``Test``, ``dev``, ``test_sft``, ``valid-00000-of-00002``.

    None if it means none of the three, or training and another. ``held-out validation`` is a test.
    """
    return _one_split({_SPELLINGS[word] for word in _words(mark) if word in _SPELLINGS})


def whole_split_name(mark: str) -> str | None:
    """Return the split of a mark that says nothing but a split: ``Test``, ``held out``, ``test 2``; else None."""
    words = _words(mark) if len(mark) <= 40 else []
    return split_name(mark) if words and all(word in _SPELLINGS or word in _FILLERS for word in words) else None


def most_held_out(names: Collection[str | None]) -> str | None:
    """Return the split of several marks of one row that holds it out most; None without a mark."""
    return next((name for name in (TEST, VALIDATION, TRAIN) if name in names), None)


def _words(mark: str) -> list[str]:
    small = _INNER_CAPITAL.sub(" ", mark).casefold()  # PublicTest
    letters = unicodedata.normalize("NFKD", small) if not mark.isascii() else small
    plain = "".join(char for char in letters if not unicodedata.combining(char)) if not mark.isascii() else letters
    joined = _ONE_WORD.sub(lambda match: "".join(filter(None, match.groups())), plain)
    return [word for word in re.split("[^a-z]+", joined) if word]


def _one_split(names: set[str]) -> str | None:
    return most_held_out(names) if len(names) == 1 or (names and TRAIN not in names) else None


def split_group(row: Row) -> str:
    """Return the group of a row that a split keeps together: its template, its near-copies, or the row alone."""
    return row.get("template") or row.get("copy_group") or row["id"]


def is_for_training(row: Row) -> bool:
    """Return whether a row may be trained: it is not marked as one to validate or to test with."""
    return row.get("split") not in (VALIDATION, TEST)
