"""The memory ledger: what a run will take, where it goes, and what it took.

>>> from etabli import memory
>>> memory.forecast("meta-llama/Llama-3.1-8B", "t4", seq=2048)["fits"]    # doctest: +SKIP
>>> memory.of_run("runs/first")["residual"]    # doctest: +SKIP
>>> memory.ledger("meta-llama/Llama-3.1-8B", "t4")    # doctest: +SKIP

``forecast`` says it before a run, ``of_run`` sets what a run measured beside it, ``ledger`` shows either with sliders.
"""

import importlib

from etabli.core import machine

machine.settle_threads()  # the room's modules import torch

_HOMES = {
    "Setup": "etabli.memory.config",
    "forecast": "etabli.memory.forecasting",
    "ledger": "etabli.memory.ledger_view",
    "of_run": "etabli.memory.runs",
}


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"etabli.memory has no {name!r}; it has {', '.join(_HOMES)}")
