"""établi, a workbench: see and test what fine-tuning does, instead of believing it.

>>> import etabli                                      # milliseconds: nothing heavy is imported until it is used
>>> etabli.check("my.jsonl")                           # doctest: +SKIP
>>> rows = etabli.read("my.jsonl")                     # doctest: +SKIP
>>> data = etabli.Dataset(rows).with_test().save("datasets/mine")    # doctest: +SKIP
>>> run = etabli.Run.start(etabli.Recipe(data="datasets/mine"), "runs/first")    # doctest: +SKIP
>>> run.wait(); etabli.evaluate(run)                   # doctest: +SKIP
"""

import importlib

from etabli import environment

__version__ = "0.1.0"

environment.settle_threads()

_HOMES = {
    "Dataset": "etabli.data.dataset",
    "EtabliError": "etabli.errors",
    "Recipe": "etabli.training.recipe",
    "Run": "etabli.training.run",
    "arena": "etabli.judging.arena",
    "chat": "etabli.judging.chat",
    "check": "etabli.data.checks.check",
    "compare": "etabli.evaluation.compare",
    "curate": "etabli.curation.curation",
    "evaluate": "etabli.evaluation.bench",
    "film": "etabli.judging.film",
    "home_commands": "etabli.data.samples",
    "lens": "etabli.masks",
    "load": "etabli.models.loading",
    "lr_range": "etabli.experiments.lr_range",
    "merge": "etabli.export.merge",
    "overlay": "etabli.experiments.overlay",
    "own_check": "etabli.data.own",
    "own_filter": "etabli.data.own",
    "read": "etabli.data.reading.source",
    "render": "etabli.tokens",
    "token_diff": "etabli.judging.token_diff",
    "verdict": "etabli.evaluation.card",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"etabli has no {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
