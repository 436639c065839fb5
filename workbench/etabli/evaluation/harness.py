"""Tasks of EleutherAI's lm-eval on the model in memory, adapter off and on; their samples are paired row by row."""

import contextlib
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etabli import environment, storage
from etabli.contracts import VERSION, Answered, Metric, Results
from etabli.errors import BadInput
from etabli.evaluation.arms import BASE, TUNED
from etabli.evaluation.scores.libraries import require
from etabli.evaluation.scores.score import MEAN, NUMBER, SHARE
from etabli.evaluation.summary import summarise
from etabli.models.loading import Loaded, load
from etabli.training.run import Run

ARMS = (BASE, TUNED)


def evaluate_task(
    run: Run | str | Path, task: str | Path, limit: int | None = None, loaded: Loaded | None = None, batch: int = 8
) -> Results:
    """A task of lm-eval, base against tuned.

    Args:
        run: a run or its folder; task: the YAML file of a task whose data are local (``dataset_path: json`` and
            ``data_files``, relative to the YAML). Nothing is asked of the network.
        limit: at most this many samples.
        loaded: base and adapter, if they are in memory already; batch: rows at once.

    Returns:
        Results as ``bench.evaluate`` gives them, with lm-eval's own metrics for each sample. Prompts go through the
        model's chat template. There is no lookup and no prompted base: a task brings its own prompts.

    Raises:
        MissingExtra: lm-eval is not installed; BadInput: no task, or it can't be run.
    """
    version = require("lm-eval", "harness")
    path = Path(task).absolute()
    if not path.is_file():
        raise BadInput(f"There is no task {task}: name the YAML file of an lm-eval task.")
    run = Run.attach(run)
    loaded = loaded or load(run.recipe.model, adapter=run.adapter)
    samples, better = {}, {}
    for arm in ARMS:
        with loaded.as_base(arm == BASE):
            samples[arm], better = _samples(loaded, path, limit, batch)
    return _results(run, loaded, path, samples, better, version)


def _samples(loaded: Loaded, path: Path, limit: int | None, batch: int) -> tuple[list[dict], dict[str, bool]]:
    """One arm's samples, and which metrics are better when higher."""
    import lm_eval
    import yaml
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    try:
        name = yaml.load(path.read_text(encoding="utf-8"), _lenient())["task"]
        with contextlib.chdir(path.parent):
            tasks = TaskManager(include_path=str(path.parent), include_defaults=False)
            model = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=batch)
            made = lm_eval.simple_evaluate(
                model, tasks=[name], task_manager=tasks, limit=limit, log_samples=True, bootstrap_iters=0,
                apply_chat_template=True, confirm_run_unsafe_code=False,
            )  # fmt: skip
    except Exception as error:  # whatever lm-eval or a task's own code raises
        said = (str(error).splitlines() or [""])[0]
        raise BadInput(f"lm-eval can't run {path.name}: {type(error).__name__}: {said[:300]}") from error
    return made["samples"][name], made["higher_is_better"][name]


def _lenient() -> Any:
    import yaml

    class Lenient(yaml.SafeLoader):
        """YAML with lm-eval's ``!function``, whose name is all that is wanted of it."""

    Lenient.add_multi_constructor("!", lambda loader, suffix, node: None)
    return Lenient


def _results(
    run: Run, loaded: Loaded, path: Path, samples: dict[str, list], better: dict[str, bool], version: str
) -> Results:
    ordered = {arm: sorted(held, key=lambda sample: sample["doc_id"]) for arm, held in samples.items()}
    names = [name for name in ordered[BASE][0].get("metrics", better) if name in ordered[BASE][0]]
    metrics = [_metric(name, path, ordered, better, version) for name in names if _numbers(name, ordered)]
    if not metrics:
        raise BadInput(f"{path.name} gives no metric that is one number a sample.")
    rows = [_row(pair, metrics) for pair in zip(*(ordered[arm] for arm in ARMS))]
    template = hashlib.sha256(str(loaded.tokenizer.chat_template).encode()).hexdigest()
    data = hashlib.sha256("".join(row["id"] for row in rows).encode()).hexdigest()
    return summarise({
        "version": VERSION, "seed": run.recipe.seed, "model": loaded.name, "data_hash": data,
        "made_with": {"task": path.name, "task_hash": storage.sha256(path), "lm-eval": version,
                      "model_hash": loaded.source.hash, "template_hash": template, "run": run.name,
                      "versions": environment.versions()},
        "arms": list(ARMS), "subject": TUNED, "rivals": [BASE], "metrics": metrics, "scores": [], "rows": rows,
        "warnings": [], "verdict": {},
    })  # fmt: skip


def _numbers(name: str, samples: dict[str, list]) -> bool:
    held = [sample[name] for rows in samples.values() for sample in rows]
    return all(isinstance(value, bool | int | float) and math.isfinite(value) for value in held)


def _metric(name: str, path: Path, samples: dict[str, list], better: dict[str, bool], version: str) -> Metric:
    values = {float(sample[name]) for rows in samples.values() for sample in rows}
    unit = SHARE if values <= {0.0, 1.0} else MEAN if min(values) >= 0 and max(values) <= 1 else NUMBER
    digest = hashlib.sha256(f"{storage.sha256(path)} {name} {version}".encode()).hexdigest()
    return {"name": name, "hash": digest, "unit": unit, "better": "higher" if better.get(name, True) else "lower"}


def _row(pair: Sequence[dict[str, Any]], metrics: list[Metric]) -> Answered:
    base = pair[0]
    by_arm = dict(zip(ARMS, pair))
    said = {arm: _said(sample) for arm, sample in by_arm.items()}
    first = next((metric["name"] for metric in metrics if metric["unit"] == SHARE), None)
    return {
        "id": base["doc_hash"], "lang": "", "template": base["doc_hash"], "cluster": base["doc_hash"], "slices": [],
        "overlap": None, "prompt": _prompt(base), "truth": str(base["target"]),
        "rendered": {arm: _prompt(sample) for arm, sample in by_arm.items()},
        "answers": said,
        "raw": {arm: str(_first(_first(sample["resps"]))) for arm, sample in by_arm.items()},
        "correct": {arm: bool(sample[first]) for arm, sample in by_arm.items()} if first else {},
        "values": {metric["name"]: {arm: _value(sample[metric["name"]], metric) for arm, sample in by_arm.items()}
                   for metric in metrics},
        "weights": {}, "errors": {}, "columns": {},
    }  # fmt: skip


def _said(sample: dict[str, Any]) -> str:
    """What was answered; of several choices the likeliest."""
    held = sample["filtered_resps"]
    if held and isinstance(held[0], list | tuple) and isinstance(held[0][0], float):
        scores = [float(one[0]) for one in held]
        return str(_arguments(sample)[scores.index(max(scores))][1])
    return str(_first(held))


def _value(held: Any, metric: Metric) -> bool | float:
    return bool(held) if metric["unit"] == SHARE else float(held)


def _first(held: Any) -> Any:
    return held[0] if isinstance(held, list | tuple) and held else held


def _prompt(sample: dict[str, Any]) -> str:
    return str(_arguments(sample)[0][0])


def _arguments(sample: dict[str, Any]) -> list[list[Any]]:
    """What each request was made with: prompt and continuation, or prompt and options."""
    held = sample["arguments"]
    listed = list(held.values()) if isinstance(held, dict) else list(held)
    return [list(one.values()) if isinstance(one, dict) else list(one) for one in listed]
