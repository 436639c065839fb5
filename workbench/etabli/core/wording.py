"""Numbers in sentences that a person reads: counts with their noun, and sizes of memory in one unit."""

GIB = 2**30


def choose_form(count: int, singular: str, plural: str) -> str:
    """Return the form of a word that agrees with a count: the singular for 1."""
    return singular if count == 1 else plural


def count_of(count: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun: ``1 step``, ``0 steps``, ``1,200 steps``. ``plural``: by default noun and s."""
    return f"{count:,} {choose_form(count, noun, plural or f'{noun}s')}"


def format_gib(size: float, digits: int = 1) -> str:
    """Return a number of bytes in GiB (1024³ bytes), the unit of all sizes of memory and disk: ``1.5 GiB``."""
    return f"{size / GIB:.{digits}f} GiB"


def first_line(error: Exception) -> str:
    """Return the first line of an error's text; of an error without one its type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
