"""The seal: does an exported form answer as the model did that was judged? If not, why."""

import contextlib
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

from jinja2 import TemplateError
from safetensors import SafetensorError

from etabli.core.contracts import SEAL_MARGIN, SEALED_KL, Difference, FormSeal
from etabli.core.errors import EtabliError, WrongAdapter
from etabli.core.progress import show_progress
from etabli.core.wording import first_line
from etabli.exports.comparison import Comparison, compare
from etabli.exports.forms import Form
from etabli.exports.mends import mend_of
from etabli.exports.merge import ORIGINAL
from etabli.exports.reference import Reference

PRECISION_KL = 0.05  # nats a token: more than another way of rounding makes
OTHER_KL = 1.0  # nats a token: no rounding does that
FAULTS = (EtabliError, OSError, ValueError, RuntimeError, LookupError, TypeError)  # of a form that is none
Verdict = Literal["sealed", "drift", "broken"]
OpenForm = Callable[[], AbstractContextManager[Form]]


def seal_form(reference: Reference, name: str, open_form: OpenForm, margin: float = SEAL_MARGIN) -> FormSeal:
    """Compare one form with what was judged.

    Args:
        reference: of the run that was exported.
        name: ``adapter``, ``merged``, ``gguf:q8_0`` …
        open_form: opens the form; an adapter that does not fit its base is a broken form.
        margin: the loss of score that is still called the same, as a share.
    """
    start_time = time.monotonic()
    found = _open_and_compare(reference, name, open_form)
    return _describe(name, found, margin, len(reference.conversations), time.monotonic() - start_time)


def seal_unwritten(reference: Reference, name: str, why: str, margin: float = SEAL_MARGIN) -> FormSeal:
    """Return the seal of a form that could not even be written."""
    found = Comparison(f"it can't be written: {why[:300].rstrip('. ')}")
    return _describe(name, found, margin, len(reference.conversations), 0.0)


def _open_and_compare(reference: Reference, name: str, open_form: OpenForm) -> Comparison:
    with contextlib.ExitStack() as stack:
        try:
            form = stack.enter_context(open_form())
        except WrongAdapter as error:
            return Comparison(f"other base: {_why(error)}")
        except (*FAULTS, SafetensorError) as error:
            return Comparison(f"it can't be opened: {_why(error)}")
        try:
            with show_progress(f"asking {name}"):
                return compare(reference, form)
        except (*FAULTS, TemplateError) as error:
            return Comparison(f"it can't be asked: {_why(error)}")


def _why(error: Exception) -> str:
    return first_line(error)[:300].rstrip(". ")


def _describe(name: str, found: Comparison, margin: float, count: int, seconds: float) -> FormSeal:
    verdict, cause = _judge(name, found, margin)
    return {
        "form": name,
        "verdict": verdict,
        "cause": cause,
        "mend": mend_of(cause) if cause else None,
        "sentence": _sentence(name, verdict, cause, found, count),
        "conversations": count,
        "prompt_same": found.prompt_same,
        "first_difference": found.first_difference,
        "answers_same": found.answers_same,
        "answers_close": found.answers_close,
        "first_answer": found.first_answer,
        "kl": found.kl,
        "largest_change": found.largest_change,
        "score": found.score,
        "score_says": _score_says(found.score, margin),
        "seconds": round(seconds, 1),
        "notes": found.notes,
    }


def _judge(name: str, found: Comparison, margin: float) -> tuple[Verdict, str | None]:
    """Return the verdict and its cause."""
    if found.cause or found.kl is None:
        return "broken", found.cause
    is_worse = _score_says(found.score, margin) == "worse"
    if found.kl <= SEALED_KL:
        return ("broken", "the score is worse") if is_worse else ("sealed", None)
    cause = _cause_of_drift(name, found)
    is_fault = cause in ("adapter not applied", "adapter applied twice", "other base")
    return ("broken" if is_fault or is_worse else "drift"), cause


def _score_says(score: Difference | None, margin: float) -> Literal["same", "worse", "cannot tell"] | None:
    """Return what the interval says: all of it above minus the margin, all of it below, or neither."""
    if score is None:
        return None
    low, high = (float(score[bound]) if score[bound] is not None else math.nan for bound in ("low", "high"))
    return "same" if low > -margin else "worse" if high < -margin else "cannot tell"


def _cause_of_drift(name: str, found: Comparison) -> str:
    assert found.kl is not None
    if found.base_kl < found.kl / 2:
        return "adapter not applied"
    if found.twice_kl < found.kl / 2:
        return "adapter applied twice"
    is_quantised = ":q" in name
    if found.kl > OTHER_KL and not (is_quantised and found.kl < min(found.base_kl, found.twice_kl)):
        return "other base"
    if name in (f"merged:{ORIGINAL}", "gguf:lora"):
        return "the base's own 16-bit values, with which the adapter was not trained"
    if is_quantised:
        return "quantisation"
    return "precision only" if found.kl < PRECISION_KL else "other weights: rounding to 16 bits explains no such change"


def _sentence(name: str, verdict: str, cause: str | None, found: Comparison, count: int) -> str:
    if verdict == "broken":
        where = found.first_difference
        more = f" ({where['judged']!r} is {where['form']!r} in {where['conversation']})" if where else ""
        return f"{name} is broken: {cause}{more}."
    close = f", {found.answers_close} part where the choice was close" if found.answers_close else ""
    drift = f"{found.kl:.4f} nats a token, {found.answers_same} of {count} answers the same to the last token{close}"
    return f"{name} is sealed{f' with drift ({cause})' if cause else ''}: {drift}."


def size_of(folder: Path) -> int:
    """Return the bytes of all files in an exported folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
