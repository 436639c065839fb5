"""The memory ledger: what a run will take, where it goes, and what it took.

>>> from etabli import memory
>>> memory.forecast("meta-llama/Llama-3.1-8B", "t4", seq=2048)["fits"]    # doctest: +SKIP
>>> memory.of_run("runs/first")["residual"]    # doctest: +SKIP
>>> memory.ledger("meta-llama/Llama-3.1-8B", "t4")    # doctest: +SKIP

``forecast`` tells it before a run, ``of_run`` compares it with what a run measured, ``ledger`` shows both with sliders.
"""

import importlib
from typing import TYPE_CHECKING

from etabli.core import machine

if TYPE_CHECKING:
    from etabli.memory.config import Setup as Setup
    from etabli.memory.forecasting import forecast as forecast
    from etabli.memory.ledger_view import ledger as ledger
    from etabli.memory.ledger_view import of_run as of_run

machine.settle_threads()  # the room's modules import torch

_HOMES = {
    "Setup": "etabli.memory.config",
    "forecast": "etabli.memory.forecasting",
    "ledger": "etabli.memory.ledger_view",
    "of_run": "etabli.memory.ledger_view",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"etabli.memory has no {name!r}; it has {', '.join(_HOMES)}")
