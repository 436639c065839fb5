"""True and false as people write them in a table: ``1``, ``yes``, ``VRAI``, ``nein``, ``x``."""

from etabli.data.reading.columns import fold_name

_TRUE = {"true", "t", "yes", "y", "vrai", "oui", "wahr", "ja", "verdadero", "si", "vero", "on", "x"}
_FALSE = {"false", "f", "no", "n", "faux", "non", "falsch", "nein", "falso", "off"}
_SIGNS = {"1": True, "1.0": True, "✓": True, "✔": True, "0": False, "0.0": False}


def read_flag(value: object) -> bool | None:
    """Return what a value says, whatever its language or case; None if it is neither true nor false."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value if isinstance(value, bool) else None
    text = str(value).strip()
    if text.casefold() in _SIGNS:
        return _SIGNS[text.casefold()]
    name = fold_name(text) if len(text) <= 20 and text.isalpha() else ""
    return True if name in _TRUE else False if name in _FALSE else None
