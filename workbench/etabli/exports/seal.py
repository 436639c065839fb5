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

from etabli.core.contracts import SEAL_MARGIN, Difference, FormSeal
from etabli.core.errors import EtabliError, WrongAdapter
from etabli.core.progress import show_progress
from etabli.core.wording import first_line
from etabli.exports.comparison import Comparison, compare
from etabli.exports.forms import Form
from etabli.exports.merge import ORIGINAL
from etabli.exports.reference import SEALED_KL, Reference

PRECISION_KL = 0.05  # nats a token: more than another way of rounding makes
OTHER_KL = 1.0  # nats a token: no rounding does that
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
    with contextlib.ExitStack() as stack:
        try:
            form = stack.enter_context(open_form())
        except WrongAdapter as error:
            found = Comparison(f"other base: {error}")
        except (EtabliError, OSError, ValueError, RuntimeError, SafetensorError) as error:
            found = Comparison(f"it can't be opened: {first_line(error)[:300]}")
        else:
            try:
                with show_progress(f"asking {name}"):
                    found = compare(reference, form)
            except (EtabliError, OSError, ValueError, TemplateError) as error:
                found = Comparison(f"it can't be asked: {first_line(error)[:300]}")
    verdict, cause = _judge(name, found, margin)
    return {
        "form": name,
        "verdict": verdict,
        "cause": cause,
        "sentence": _sentence(name, verdict, cause, found, len(reference.conversations)),
        "conversations": len(reference.conversations),
        "prompt_same": found.first_difference is None,
        "first_difference": found.first_difference,
        "answers_same": found.answers_same,
        "kl": found.kl,
        "largest_change": found.largest_change,
        "score": found.score,
        "score_says": _score_says(found.score, margin),
        "seconds": round(time.monotonic() - start_time, 1),
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
    if found.kl > OTHER_KL:
        return "other base"
    if name in (f"merged:{ORIGINAL}", "gguf:lora"):
        return "the base's own 16-bit values, with which the adapter was not trained"
    if ":q" in name:
        return "quantisation"
    return "precision only" if found.kl < PRECISION_KL else "other weights: rounding to 16 bits explains no such change"


def _sentence(name: str, verdict: str, cause: str | None, found: Comparison, count: int) -> str:
    if verdict == "broken":
        where = found.first_difference
        more = f" ({where['judged']!r} is {where['form']!r} in {where['conversation']})" if where else ""
        return f"{name} is broken: {cause}{more}."
    drift = f"{found.kl:.4f} nats a token, {found.answers_same} of {count} answers the same to the last token"
    return f"{name} is sealed{f' with drift ({cause})' if cause else ''}: {drift}."


def size_of(folder: Path) -> int:
    """Return the bytes of all files in an exported folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
