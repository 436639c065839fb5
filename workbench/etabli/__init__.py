"""établi, a workbench: see and test what fine-tuning does, instead of believing it.

>>> import etabli                                      # milliseconds: nothing heavy is imported until it is used
>>> etabli.check("my.jsonl")                           # doctest: +SKIP
>>> rows = etabli.read("my.jsonl")                     # doctest: +SKIP
>>> data = etabli.Dataset(rows).with_test().save("datasets/mine")    # doctest: +SKIP
>>> run = etabli.Run.start(etabli.Recipe(data="datasets/mine"), "runs/first")    # doctest: +SKIP
>>> run.wait(); etabli.evaluate(run)                   # doctest: +SKIP
"""

import importlib

from etabli.core import machine

__version__ = "0.1.0"

machine.settle_threads()

_HOMES = {
    "Dataset": "etabli.data.dataset",
    "EtabliError": "etabli.core.errors",
    "Recipe": "etabli.runs.recipe",
    "Run": "etabli.runs.run",
    "arena": "etabli.review.session",
    "chat": "etabli.review.chat",
    "check": "etabli.checks.check",
    "compare": "etabli.evaluation.compare",
    "curate": "etabli.curation.desk",
    "evaluate": "etabli.evaluation.evaluate",
    "film": "etabli.review.probe_history",
    "home_commands": "etabli.data.samples",
    "lens": "etabli.training.batch_lens",
    "load": "etabli.models.loading",
    "lr_range": "etabli.runs.lr_finder",
    "merge": "etabli.export.merge",
    "overlay": "etabli.runs.plots",
    "own_check": "etabli.checks.custom_rules",
    "own_filter": "etabli.checks.custom_rules",
    "read": "etabli.data.reading.source",
    "render": "etabli.rendering.render",
    "token_diff": "etabli.review.token_diff",
    "verdict": "etabli.evaluation.card",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"etabli has no {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
