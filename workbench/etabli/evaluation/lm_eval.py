"""Tasks of EleutherAI's lm-eval on the model in memory, adapter off and on; their samples are paired row by row."""

import contextlib
import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etabli.core import folders, machine, storage, trust
from etabli.core.contracts import VERSION, Answered, Metric, Results
from etabli.core.errors import BadInput, OutsideFolder
from etabli.evaluation import task_code
from etabli.evaluation.aggregate import summarise
from etabli.evaluation.caveats import cluster_caveats
from etabli.evaluation.scores.libraries import require
from etabli.evaluation.scores.score import SHARE, unit_of
from etabli.evaluation.systems import BASE, TUNED
from etabli.models.loading import Loaded, load
from etabli.runs.run import Run
from etabli.training.train_data import template_hash

ARMS = (BASE, TUNED)


@folders.takes_allow_outside
def evaluate_task(
    run: Run | str | Path,
    task: str | Path,
    limit: int | None = None,
    loaded: Loaded | None = None,
    batch: int = 8,
    trust_code: bool = False,
) -> Results:
    """A task of lm-eval, base against tuned.

    Args:
        run: a run or its folder; task: the YAML file of a task whose data are local (``dataset_path: json`` and
            ``data_files``, relative to the YAML). Nothing is asked of the network.
        limit: at most this many samples.
        loaded: base and adapter, if they are in memory already; batch: rows at once.
        trust_code: say yes to the Python files that the task names by ``!function``; it is kept. The task itself is
            named by you: its templates, which lm-eval does not confine, are run.

    Returns:
        Results as ``bench.evaluate`` gives them, with lm-eval's own metrics for each sample. Prompts go through the
        model's chat template. There is no lookup and no prompted base: a task brings its own prompts.

    Raises:
        MissingExtra: lm-eval is not installed; BadInput: no task, or it can't be run; UntrustedCode: it names Python
        files that this user has not said yes to.
    """
    version = require("lm-eval", "harness")
    path = Path(task).absolute()
    if not path.is_file():
        raise BadInput(f"There is no task {task}: name the YAML file of an lm-eval task.")
    with _task_errors(path):
        trust.require(task_code.code_of_task(path), trust_code)
    run = Run.attach(run)
    loaded = loaded or load(run.recipe.model, adapter=run.adapter, dtype=run.dtype)
    samples, better = {}, {}
    for arm in ARMS:
        with loaded.as_base(arm == BASE):
            samples[arm], better = _samples(loaded, path, limit, batch)
    return _results(run, loaded, path, samples, better, version)


def _samples(loaded: Loaded, path: Path, limit: int | None, batch: int) -> tuple[list[dict], dict[str, bool]]:
    """One arm's samples, and which metrics are better when higher."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    with _task_errors(path):
        told, _ = task_code.read_task(path)
        _require_local(told, path.parent)
        for other in path.parent.rglob("*.yaml"):  # lm-eval reads them all
            task_code.read_task(other)
        with contextlib.chdir(path.parent), _offline():
            tasks = TaskManager(include_path=str(path.parent), include_defaults=False)
            model = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=batch)
            made = lm_eval.simple_evaluate(
                model, tasks=[told["task"]], task_manager=tasks, limit=limit, log_samples=True, bootstrap_iters=0,
                apply_chat_template=True, confirm_run_unsafe_code=False,
            )  # fmt: skip
        return made["samples"][told["task"]], made["higher_is_better"][told["task"]]


@contextlib.contextmanager
def _task_errors(path: Path) -> Iterator[None]:
    """Say of whatever a task raises that it is the task's."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:  # whatever lm-eval or a task's own code raises
        said = (str(error).splitlines() or [""])[0]
        raise BadInput(f"lm-eval can't run {path.name}: {type(error).__name__}: {said[:300]}") from error


def _require_local(told: dict[str, Any], folder: Path) -> None:
    """Data are local files, and beside the task or below."""
    if told.get("dataset_path") not in ("json", "csv", "parquet", "text"):
        raise BadInput(
            f"dataset_path is {told.get('dataset_path')!r}: only local json, csv, parquet and text are read."
        )

    files = _texts([told.get("include"), (told.get("dataset_kwargs") or {}).get("data_files")])
    outside = [file for file in files if not folders.is_within(folder / file, folder)]
    if outside and not folders.is_outside_allowed():
        raise OutsideFolder(
            f"The task names {outside[0][: folders.NAME_SHOWN]!r}, which is not beside it or below: it was not read. "
            "If you mean that file: --allow-outside (allow_outside=True)."
        )


def _texts(value: Any) -> list[str]:
    """Every text within lists and mappings."""
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in _texts(part)]


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """No name is looked up: ``datasets`` would count its downloads even for a local file."""
    import datasets
    import huggingface_hub

    places = [(datasets.config, "HF_HUB_OFFLINE"), (huggingface_hub.constants, "HF_HUB_OFFLINE")]
    before = [getattr(module, name) for module, name in places]
    try:
        for module, name in places:
            setattr(module, name, True)
        yield
    finally:
        for (module, name), value in zip(places, before):
            setattr(module, name, value)


def _results(
    run: Run, loaded: Loaded, path: Path, samples: dict[str, list], better: dict[str, bool], version: str
) -> Results:
    by_arm = {arm: _by_document(held) for arm, held in samples.items()}
    documents = sorted(by_arm[BASE])
    code = f"{storage.sha256(path)} {version}"
    metrics = _metrics(by_arm, better, code)
    if not metrics:
        raise BadInput(f"{path.name} gives no metric that is one number a sample.")
    rows = [_row({arm: by_arm[arm][at] for arm in ARMS}, metrics) for at in documents]
    data = hashlib.sha256("".join(row["id"] for row in rows).encode()).hexdigest()
    return summarise({
        "version": VERSION, "seed": run.recipe.seed, "model": loaded.name, "data_hash": data,
        "made_with": {"task": path.name, "task_hash": storage.sha256(path), "lm-eval": version,
                      "model_hash": loaded.source.hash, "template_hash": template_hash(loaded.tokenizer),
                      "run": run.name, "versions": machine.versions()},
        "arms": list(ARMS), "subject": TUNED, "rivals": [BASE], "metrics": metrics, "scores": [], "rows": rows,
        "warnings": cluster_caveats(rows, "document"), "verdict": {},
    })  # fmt: skip


Document = dict[str, dict[str, Any]]  # one document's samples, by filter


def _by_document(samples: list[dict[str, Any]]) -> dict[int, Document]:
    """lm-eval logs a sample for every document and filter."""
    found: dict[int, Document] = {}
    for sample in samples:
        found.setdefault(sample["doc_id"], {})[str(sample.get("filter", "none"))] = sample
    return found


def _values(document: Document) -> dict[str, Any]:
    """The numbers of a document: ``acc``, or ``exact_match,strict`` where there are several filters."""
    several = len(document) > 1
    return {
        f"{name},{kind}" if several else name: sample[name]
        for kind, sample in document.items()
        for name in sample.get("metrics", [])
        if name in sample
    }


def _metrics(by_arm: dict[str, dict[int, Document]], better: dict[str, bool], code: str) -> list[Metric]:
    listed = [_values(document) for documents in by_arm.values() for document in documents.values()]
    found: list[Metric] = []
    for name in listed[0]:
        values = [held.get(name) for held in listed]
        if all(isinstance(value, bool | int | float) and math.isfinite(value) for value in values):
            digest = hashlib.sha256(f"{code} {name}".encode()).hexdigest()
            higher = better.get(name.split(",")[0], True)
            found.append({"name": name, "spec": f"lm-eval {name}", "hash": digest, "unit": unit_of(values),
                          "better": "higher" if higher else "lower"})  # fmt: skip
    return found


def _row(by_arm: dict[str, Document], metrics: list[Metric]) -> Answered:
    samples = {arm: next(iter(document.values())) for arm, document in by_arm.items()}
    base = samples[BASE]
    numbers = {arm: _values(document) for arm, document in by_arm.items()}
    prompt, name = _prompt(base), base["doc_hash"]
    return {
        "id": name, "lang": "", "template": name, "cluster": f"{base['doc_id']} {name}", "slices": [],
        "row": {"id": name, "messages": [{"role": "user", "content": prompt}]}, "overlap": None,
        "prompt": prompt, "truth": str(base["target"]),
        "rendered": {arm: _prompt(sample) for arm, sample in samples.items()},
        "answers": {arm: _said(sample) for arm, sample in samples.items()},
        "raw": {arm: str(sample["resps"]) for arm, sample in samples.items()},
        "correct": {}, "weights": {}, "errors": {},
        "values": {metric["name"]: {arm: _value(held[metric["name"]], metric) for arm, held in numbers.items()}
                   for metric in metrics},
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
