"""Scores by the libraries that are kept for them; each is an extra."""

import contextlib
import importlib
import importlib.metadata
import io
from collections.abc import Iterator
from functools import cache
from typing import Any

from etabli.core.contracts import Row
from etabli.core.errors import MissingExtra


def require(package: str, extra: str) -> str:
    """The version of an optional package.

    Raises:
        MissingExtra: it is not installed, with the command that installs it.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise MissingExtra(f"This score needs {package}: pip install 'etabli[{extra}]'") from None


@cache
def _rouge() -> Any:
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)


def rouge_l(answer: str, truth: str) -> float:
    """ROUGE-L F1 of words in ASCII letters and digits (rouge-score), 0 to 1."""
    return float(_rouge().score(truth, answer)["rougeL"].fmeasure)


@cache
def _chrf() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF()


def chrf(answer: str, truth: str) -> float:
    """ChrF2 of character 1- to 6-grams (sacrebleu), 0 to 1; any script."""
    return float(_chrf().sentence_score(answer, [truth]).score) / 100


@cache
def _ifeval() -> Any:
    import langdetect

    langdetect.DetectorFactory.seed = 0  # it draws at random otherwise, and a verdict has to come out the same again
    with _no_download():
        return importlib.import_module("lm_eval.tasks.ifeval.utils")


@contextlib.contextmanager
def _no_download() -> Iterator[None]:
    """lm-eval fetches nltk's data while it is imported. Rows that need what is not there are errors instead."""
    import nltk

    fetch, nltk.download = nltk.download, lambda *args, **kwargs: False
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        nltk.download = fetch


def ifeval(answer: str, truth: str, row: Row) -> bool:
    """Does the answer follow every instruction that the row lists (IFEval, strict; lm-eval's checkers)?

    The row's columns are ``instruction_id_list`` and ``kwargs``, as in google/IFEval.

    Raises:
        ValueError: no such columns; KeyError: an instruction that lm-eval does not know.
    """
    columns = row.get("columns") or {}
    names, options = columns.get("instruction_id_list"), columns.get("kwargs")
    if not names or not options or len(names) != len(options):
        raise ValueError("the row has no instruction_id_list with as many kwargs")
    asked = next((turn["content"] for turn in reversed(row["messages"]) if turn["role"] == "user"), "")
    said = _ifeval().InputExample(key=0, instruction_id_list=names, prompt=asked, kwargs=options)
    return bool(_ifeval().test_instruction_following_strict(said, answer).follow_all_instructions)
