"""The memory ledger: what a run will take, where it goes, and what it took.

>>> from etabli import memory
>>> memory.forecast("meta-llama/Llama-3.1-8B", "t4", seq=2048)["fits"]    # doctest: +SKIP

``forecast`` says it before a run, ``measured`` beside what a run wrote down; ``closed_form`` is the formula by itself.
"""

import importlib

_HOMES = {
    "Setup": "etabli.memory.setup",
    "forecast": "etabli.memory.ledger",
    "ledger_of": "etabli.memory.measured",
}


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"etabli.memory has no {name!r}; it has {', '.join(_HOMES)}")
