"""Out of memory: measure what a phase takes, and do a step again in smaller parts when it does not fit.

Each pack is split in two, then in four. Its loss is divided by the trained tokens of the whole step, so the effective
batch stays the same, and so does the gradient but for rounding.
"""

import contextlib
import ctypes
import gc
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from etabli.core.errors import NoRoom
from etabli.core.wording import count_of, first_line
from etabli.runs.recipe import Recipe
from etabli.training.packing import Pack, TokenizedRow
from etabli.training.tensor_counter import TensorCounter, count_model, total_bytes

if TYPE_CHECKING:
    from torch.nn import Module

Emit = Callable[..., None]  # emit(kind, **fields) writes an event
T = TypeVar("T")
_PHRASES = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on whichever device."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error).casefold() for phrase in _PHRASES)


def free_memory() -> None:
    """Give memory that nothing uses back to the system and the device."""
    import torch

    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc keeps freed memory, in blocks too small to be of use
        ctypes.CDLL(None).malloc_trim(0)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def retry_smaller(task: Callable[[], T], make_smaller: Callable[[str], None]) -> T:
    """Return what ``task`` returns; each time memory runs out, call ``make_smaller`` with the reason and try again.

    ``make_smaller`` is called after the failed attempt's tensors are freed. It ends the attempts by raising.
    """
    while True:
        try:
            return task()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            why = first_line(error)[:200]
        free_memory()  # outside of the handler: the traceback holds the tensors
        make_smaller(why)


def split_pack(pack: Pack, count: int) -> list[Pack]:
    """Split a pack into at most ``count`` parts of about as many tokens, in its order; no row is cut."""
    part_tokens = math.ceil(sum(len(row.ids) for row in pack) / count)
    parts: list[Pack] = []
    tokens_left = 0
    for row in pack:
        if not parts or (len(row.ids) > tokens_left and len(parts) < count):
            parts.append([])
            tokens_left = part_tokens
        parts[-1].append(row)
        tokens_left -= len(row.ids)
    return parts


def longest_pack(rows: list[TokenizedRow], recipe: Recipe) -> Pack:
    """Return the largest pack there can be: the longest rows, the last of them cut so that the pack is full."""
    longest_first = sorted(rows, key=lambda row: (-len(row.ids), row.id))
    if recipe.batch_size or not recipe.tokens_per_batch:
        return longest_first[: recipe.batch_size]
    pack: Pack = []
    tokens_left = recipe.tokens_per_batch
    for row in longest_first:
        if tokens_left < 2:
            break
        pack.append(replace(row, ids=row.ids[:tokens_left], labels=row.labels[:tokens_left]))
        tokens_left -= len(pack[-1].ids)
    return pack


def no_room_error(part: Pack, why: str) -> NoRoom:
    """Return the error for a part that can't be made smaller; it names the longest row."""
    row = max(part, key=lambda row: len(row.ids))
    return NoRoom(
        f"Row {row.id} with its {count_of(len(row.ids), 'token')} does not fit into memory by itself ({why}). Lower "
        "max_length, set gradient_checkpointing: all, or take a smaller model or rank; etabli memory MODEL says what "
        "each would take."
    )


@contextlib.contextmanager
def count_tensors(model: "Module", single_process: bool = True) -> Iterator[TensorCounter | None]:
    """Count the bytes of tensors that are alive inside, on a CPU; gives None on a GPU, which counts by itself.

    Args:
        model: 4-bit, with adapters; its own tensors are counted first.
        single_process: nothing is counted if there are several processes.
    """
    device = next(model.parameters()).device
    if device.type != "cpu" or not single_process:
        yield None
        return
    counter = TensorCounter()
    count_model(model, counter)
    with counter:
        yield counter


@contextlib.contextmanager
def measure_phase(
    emit: Emit, phase: str, counter: TensorCounter | None = None, **facts: object
) -> Iterator[dict[str, int]]:
    """Write a ``memory`` event with the most bytes that a phase used, and ``facts`` about its batch.

    Gives a dictionary that has these bytes, as the event has them, once the phase is over.
    """
    most_bytes: dict[str, int] = {}
    _reset_peak()
    if counter:
        counter.take_moments()
    yield most_bytes
    most_bytes |= _read_peak()
    if counter:
        most_bytes["allocated"] = max(map(total_bytes, counter.take_moments()))
    emit("memory", phase=phase, **most_bytes, **facts)


def pack_sizes(pack: Pack) -> dict[str, int]:
    """Return the numbers of rows, tokens and trained tokens of a pack."""
    lengths = [len(row.ids) for row in pack]
    return {"rows": len(lengths), "tokens": sum(lengths), "trained": sum(row.trained_tokens for row in pack)}


def _reset_peak() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return
    with contextlib.suppress(OSError):  # Linux: the peak of the resident set starts again from now
        Path("/proc/self/clear_refs").write_text("5")


def _read_peak() -> dict[str, int]:
    """Return bytes: allocated and reserved by torch on a GPU, else the resident set."""
    import torch

    if torch.cuda.is_available():
        return {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}
    import psutil

    with contextlib.suppress(OSError, ValueError, IndexError):
        status = Path("/proc/self/status").read_text()
        return {"resident": int(status.split("VmHWM:")[1].split()[0]) * 1024}
    return {"resident": psutil.Process().memory_info().rss}
