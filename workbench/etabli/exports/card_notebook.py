"""``card.ipynb``: trains and judges a run again from its recipe, and says what came out differently."""

import json
from pathlib import Path

import yaml

from etabli.core import storage
from etabli.core.contracts import ALL, Results
from etabli.models import adapters
from etabli.runs.run import Run

IMPORT = """try:
    import etabli
except ImportError:
    %pip install -q etabli bitsandbytes
    import etabli"""
SENTENCE = "(f\"verdict: {VERDICT}, now {results['verdict']['all']['verdict']}\", versions or 'the same versions')"
LIMITS = ("limit", "max_new_tokens", "shots", "instructions", "only")  # settings of an evaluation, as it stored them


def write_notebook(run: Run, results: Results | None, file: Path) -> None:
    """Write the notebook. It needs établi and the rows, which are compared by their hash."""
    cells = [
        ("markdown", _heading(run)),
        ("code", IMPORT),
        ("code", _settings(run, results)),
        ("markdown", "The same rows? The hash is of their contents; with other rows nothing below can be compared."),
        ("code", 'data = etabli.Dataset.open(RECIPE["data"])\ndata.hash == DATA_HASH'),
        ("markdown", "Train again. **Before you run it:** will the scores be the same, to the last row?"),
        ("code", 'run = etabli.Run.start(etabli.Recipe(**RECIPE), "again")\nrun.wait()'),
        ("code", "results = etabli.evaluate(run, **EVALUATION)\netabli.verdict(results)"),
        ("markdown", "What came out differently:"),
        ("code", _comparison()),
        ("code", SENTENCE),
    ]
    notebook = {
        "cells": [_cell(number, kind, text) for number, (kind, text) in enumerate(cells)],
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    storage.write_text(file, json.dumps(notebook, ensure_ascii=False, indent=1) + "\n")


def _cell(number: int, kind: str, text: str) -> dict[str, object]:
    more: dict[str, object] = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": text, **more}


def public_keys(run: Run) -> dict[str, object]:
    """Return the keys of a run's recipe for others: of a place on this machine only its last part."""
    return {name: _without_place(value) for name, value in run.recipe.keys().items()}


def _without_place(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_place(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_place(item) for item in value]
    return Path(value).name if isinstance(value, str) and adapters.is_path(value) else value


def _heading(run: Run) -> str:
    name = " ".join(run.name.split()).replace("`", "'")
    return (
        f"# `{name}` again\n\nTrains and judges it from its recipe, and says what came out differently. Change `data` "
        "below if the rows lie elsewhere here. On another machine, with another number of threads or other versions, "
        "the last bits differ, and with them some answers: the intervals say how much that means."
    )


def _settings(run: Run, results: Results | None) -> str:
    """Return a cell of values alone: nothing of a run's files is written as code."""
    made_with = results["made_with"] if results else {}
    evaluation = {name: made_with[name] for name in LIMITS if made_with.get(name) is not None}
    scores = {
        f"{score['name']}, {score['slice']}": score["arms"][results["subject"]]
        for score in (results["scores"] if results else [])
        if results and results["subject"] in score["arms"]
    }
    values = {
        "RECIPE": public_keys(run),
        "DATA_HASH": run.frozen.get("data_hash"),
        "VERSIONS": run.frozen.get("versions", {}),
        "EVALUATION": evaluation,
        "SCORES": scores,
        "VERDICT": results["verdict"][ALL]["verdict"] if results and ALL in results["verdict"] else None,
    }
    plain = yaml.safe_load(yaml.safe_dump(values))
    return "\n".join(f"{name} = {plain[name]!r}" for name in values)


def _comparison() -> str:
    return """import pandas as pd

lines = []
for score in results["scores"]:
    name, now = f"{score['name']}, {score['slice']}", score["arms"][results["subject"]]
    if (then := SCORES.get(name)) is not None:
        is_known = None not in (then["low"], then["high"], now["value"])
        held = then["low"] <= now["value"] <= then["high"] if is_known else "not known"
        lines.append({"score": name, "then": then["value"], "now": now["value"], "within its interval": held})
versions = {name: now for name, now in run.frozen["versions"].items() if VERSIONS.get(name) != now}
pd.DataFrame(lines)"""
