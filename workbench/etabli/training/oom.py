"""Room to train in: what a phase takes, and what to do when it does not fit.

Out of memory, a step is done again in smaller parts: each pack split in two, then in four. Its loss is divided by the
trained tokens of the whole step, so the effective batch, and the gradient but for rounding, stay what they were.
"""

import contextlib
import ctypes
import gc
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from etabli.core.errors import NoRoom
from etabli.runs.recipe import Recipe
from etabli.training.packing import Encoded, Pack
from etabli.training.tensor_counter import Allocations, count_model, total

Log = Callable[..., None]
_SAID = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")


def ran_out(error: BaseException) -> bool:
    """Is this a lack of memory, on whichever device?"""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).casefold() for word in _SAID)


def release() -> None:
    """Give back what nothing holds any more."""
    import torch

    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc keeps what was freed, in pieces that fit nothing large
        ctypes.CDLL(None).malloc_trim(0)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def attempt(what: Callable[[], Any], smaller: Callable[[str], None]) -> Any:
    """Do something; each time memory runs out, call ``smaller`` with why, and do it again.

    ``smaller`` ends the attempts by raising. It is called when the failed attempt's tensors are gone.
    """
    while True:
        try:
            return what()
        except Exception as error:
            if not ran_out(error):
                raise
            why = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        release()  # outside the handler: the traceback holds the tensors
        smaller(why)


def parts(pack: Pack, pieces: int) -> list[Pack]:
    """A pack in at most ``pieces`` parts of about as many tokens, in its order; a row is never cut."""
    size = math.ceil(sum(len(row.ids) for row in pack) / pieces)
    made: list[Pack] = []
    room = 0
    for row in pack:
        if not made or (len(row.ids) > room and len(made) < pieces):
            made.append([])
            room = size
        made[-1].append(row)
        room -= len(row.ids)
    return made


def longest(rows: list[Encoded], recipe: Recipe) -> Pack:
    """The most that may come together: the longest rows, the last of them cut so that the pack is full."""
    ordered = sorted(rows, key=lambda row: (-len(row.ids), row.id))
    if recipe.batch_size:
        return ordered[: recipe.batch_size]
    pack: Pack = []
    left = recipe.tokens_per_batch
    for row in ordered:
        if left < 2:
            break
        pack.append(replace(row, ids=row.ids[:left], labels=row.labels[:left]))
        left -= len(pack[-1].ids)
    return pack


def no_room(part: Pack, why: str) -> NoRoom:
    """Nothing is left to be made smaller."""
    row = max(part, key=lambda row: len(row.ids))
    return NoRoom(
        f"Row {row.id} with its {len(row.ids)} tokens does not fit into memory by itself ({why}). Lower max_length, "
        "set checkpointing: all, or take a smaller model or rank; etabli memory MODEL says what each would take."
    )


@contextlib.contextmanager
def counting(model: Any, alone: bool = True) -> Iterator[Allocations | None]:
    """On a CPU, which keeps no such count, count the tensors that are alive inside; None on a GPU.

    Args:
        model: 4-bit, with adapters: what is there before. alone: several processes are not counted.
    """
    device = next(model.parameters()).device
    if device.type != "cpu" or not alone:
        yield None
        return
    counted = Allocations()
    count_model(model, counted)
    with counted:
        yield counted


@contextlib.contextmanager
def measured(log: Log, phase: str, counted: Allocations | None = None, **about: Any) -> Iterator[None]:
    """Write what a phase took at its peak, as a ``memory`` event, with what went through the model."""
    _reset()
    if counted:
        counted.take_moments()
    yield
    tensors = {"allocated": max(map(total, counted.take_moments()))} if counted else {}
    log("memory", phase=phase, **_peak() | tensors, **about)


def about(pack: Pack) -> dict[str, int]:
    """Rows, tokens and trained tokens of what goes through the model."""
    sizes = [len(row.ids) for row in pack]
    return {"rows": len(sizes), "tokens": sum(sizes), "trained": sum(row.trained for row in pack)}


def _reset() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return
    with contextlib.suppress(OSError):  # Linux forgets the peak of the resident set so far
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> dict[str, int]:
    """Bytes: tensors and what the allocator holds on a GPU, else the resident set."""
    import torch

    if torch.cuda.is_available():
        return {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}
    import psutil

    with contextlib.suppress(OSError, ValueError, IndexError):
        status = Path("/proc/self/status").read_text()
        return {"resident": int(status.split("VmHWM:")[1].split()[0]) * 1024}
    return {"resident": psutil.Process().memory_info().rss}
