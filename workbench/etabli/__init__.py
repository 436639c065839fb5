"""établi, a workbench: see and test what fine-tuning does, instead of believing it.

>>> import etabli                                      # milliseconds: nothing heavy is imported until it is used
>>> etabli.check("my.jsonl")                           # doctest: +SKIP
>>> rows = etabli.read("my.jsonl")                     # doctest: +SKIP
>>> data = etabli.Dataset(rows).with_test().save("datasets/mine")    # doctest: +SKIP
>>> run = etabli.Run.start(etabli.Recipe(data="datasets/mine"), "runs/first")    # doctest: +SKIP
>>> run.wait(); etabli.evaluate(run)                   # doctest: +SKIP
"""

import importlib
import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etabli.app.project import Project as Project
    from etabli.checks.check import check as check
    from etabli.checks.custom_rules import own_check as own_check
    from etabli.checks.custom_rules import own_filter as own_filter
    from etabli.core.errors import EtabliError as EtabliError
    from etabli.curation.session import curate as curate
    from etabli.data.dataset import Dataset as Dataset
    from etabli.data.reading.source import read as read
    from etabli.data.samples import home_commands as home_commands
    from etabli.evaluation.card import verdict as verdict
    from etabli.evaluation.compare import compare as compare
    from etabli.evaluation.evaluate import evaluate as evaluate
    from etabli.exports.formats import export as export
    from etabli.exports.formats import seal as seal
    from etabli.exports.merge import merge as merge
    from etabli.exports.model_card import card as card
    from etabli.models.loading import load as load
    from etabli.rendering.render import render as render
    from etabli.review.chat import chat as chat
    from etabli.review.probe_history import film as film
    from etabli.review.session import arena as arena
    from etabli.review.token_diff import token_diff as token_diff
    from etabli.runs.adapter_run import open_adapter as open_adapter
    from etabli.runs.lr_finder import lr_range as lr_range
    from etabli.runs.plots import overlay as overlay
    from etabli.runs.recipe import Recipe as Recipe
    from etabli.runs.run import Run as Run
    from etabli.synthesis.synth import synth as synth
    from etabli.training.batch_lens import lens as lens

__version__ = "0.1.0"

# On some processors bitsandbytes warns, each time it is imported, that an optional package of kernels is missing.
logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(lambda notice: "gemm_4bit_forward" not in str(notice.msg))

# Where each public name is defined: the same list as above, for a reader of types and for the interpreter.
_HOMES = {
    "Dataset": "etabli.data.dataset",
    "EtabliError": "etabli.core.errors",
    "Project": "etabli.app.project",
    "Recipe": "etabli.runs.recipe",
    "Run": "etabli.runs.run",
    "arena": "etabli.review.session",
    "card": "etabli.exports.model_card",
    "chat": "etabli.review.chat",
    "check": "etabli.checks.check",
    "compare": "etabli.evaluation.compare",
    "curate": "etabli.curation.session",
    "evaluate": "etabli.evaluation.evaluate",
    "export": "etabli.exports.formats",
    "film": "etabli.review.probe_history",
    "home_commands": "etabli.data.samples",
    "lens": "etabli.training.batch_lens",
    "load": "etabli.models.loading",
    "lr_range": "etabli.runs.lr_finder",
    "merge": "etabli.exports.merge",
    "open_adapter": "etabli.runs.adapter_run",
    "overlay": "etabli.runs.plots",
    "own_check": "etabli.checks.custom_rules",
    "own_filter": "etabli.checks.custom_rules",
    "read": "etabli.data.reading.source",
    "render": "etabli.rendering.render",
    "seal": "etabli.exports.formats",
    "synth": "etabli.synthesis.synth",
    "token_diff": "etabli.review.token_diff",
    "verdict": "etabli.evaluation.card",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name in _HOMES:
        if _HOMES[name] not in sys.modules:
            _import_with_progress(name)
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"etabli has no {name!r}; it has {', '.join(__all__)}")


def _import_with_progress(name: str) -> None:
    """Import the module of a public name: the libraries that it needs can take seconds the first time."""
    from etabli.core.progress import show_progress

    with show_progress(f"loading etabli.{name}"):
        importlib.import_module(_HOMES[name])


def __dir__() -> list[str]:
    return __all__
