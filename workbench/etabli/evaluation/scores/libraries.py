"""Scores by well-kept libraries; each needs an extra of this package."""

import contextlib
import importlib
import importlib.metadata
import io
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


def rouge_l(answer: str, truth: str) -> float:
    """ROUGE-L F1 of words in ASCII letters and digits (rouge-score), 0 to 1."""
    from rouge_score import rouge_scorer

    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    return float(scorer.score(truth, answer)["rougeL"].fmeasure)


def chrf(answer: str, truth: str) -> float:
    """ChrF2 of character 1- to 6-grams (sacrebleu), 0 to 1; any script."""
    from sacrebleu.metrics import CHRF

    return float(CHRF().sentence_score(answer, [truth]).score) / 100


@cache
def _import_ifeval() -> Any:
    """lm-eval's IFEval module, imported without the download of nltk's data; rows that need the data are errors."""
    import langdetect
    import nltk

    langdetect.DetectorFactory.seed = 0  # by default it is random, and a verdict has to be reproducible
    download, nltk.download = nltk.download, lambda *args, **kwargs: False
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return importlib.import_module("lm_eval.tasks.ifeval.utils")
    finally:
        nltk.download = download


def ifeval(answer: str, truth: str, row: Row) -> bool:
    """Does the answer follow every instruction that the row lists (IFEval, strict; lm-eval's checkers)?

    The row's columns are ``instruction_id_list`` and ``kwargs``, as in google/IFEval.

    Raises:
        ValueError: no such columns; KeyError: an instruction that lm-eval does not know.
    """
    columns = row.get("columns") or {}
    names, options = columns.get("instruction_id_list"), columns.get("kwargs")
    if not isinstance(names, list) or not isinstance(options, list) or not names or len(names) != len(options):
        raise ValueError("the row has no instruction_id_list with as many kwargs")
    prompt = next((turn["content"] for turn in reversed(row["messages"]) if turn["role"] == "user"), "")
    library = _import_ifeval()
    example = library.InputExample(key=0, instruction_id_list=names, prompt=prompt, kwargs=options)
    return bool(library.test_instruction_following_strict(example, answer).follow_all_instructions)
