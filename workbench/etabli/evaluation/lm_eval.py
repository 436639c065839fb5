"""Run tasks of EleutherAI's lm-eval on the model in memory, adapter off and on, and pair the samples row by row."""

import contextlib
import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etabli.core import folders, machine, storage, trust
from etabli.core.contracts import VERSION, AnsweredRow, Message, Metric, Results
from etabli.core.errors import BadData, BadInput, OutsideFolder
from etabli.evaluation import task_code
from etabli.evaluation.aggregate import summarise
from etabli.evaluation.caveats import cluster_caveats
from etabli.evaluation.scores.libraries import require
from etabli.evaluation.scores.score import SHARE, unit_of
from etabli.evaluation.systems import BASE, TUNED
from etabli.models.loading import LoadedModel
from etabli.rendering import template_engine
from etabli.rendering.template_engine import Conversation
from etabli.runs.adapter_run import open_adapter
from etabli.runs.run import Run
from etabli.training.train_data import template_hash

ARMS = (BASE, TUNED)

Sample = dict[str, Any]  # what lm-eval logs for one document and filter
Document = dict[str, Sample]  # one document's samples, by filter


@folders.add_allow_outside
def evaluate_task(
    run: Run | str | Path,
    task: str | Path,
    limit: int | None = None,
    loaded: LoadedModel | None = None,
    batch: int = 8,
    trust_code: bool = False,
) -> Results:
    """Evaluate the base and the tuned model on a task of lm-eval.

    Args:
        run: a run or its folder; task: the YAML file of a task whose data are local (``dataset_path: json`` and
            ``data_files``, relative to the YAML). The network is not used.
        limit: the greatest number of samples.
        loaded: base and adapter, if they are in memory already; batch: rows in one batch.
        trust_code: agree to run the Python files that the task names by ``!function``; your consent is stored. By
            naming the task you agree to run its templates, which lm-eval does not confine.

    Returns:
        Results as from ``evaluate``, with lm-eval's own metrics for each sample. Prompts go through the model's chat
        template. There is no lookup and no prompted base, since a task has its own prompts.

    Raises:
        MissingExtra: lm-eval is not installed; BadInput: no task, or it can't be run; UntrustedCode: it names Python
        files that this user has not agreed to run.
    """
    version = require("lm-eval", "harness")
    path = _find_task(task)
    with _task_errors(path):
        trust.require(task_code.code_of_task(path), trust_code)
    run = open_adapter(run)
    loaded_model = loaded or run.load()
    documents, higher_is_better = _run_arms(loaded_model, path, limit, batch)
    metrics = _find_metrics(documents, higher_is_better, f"{storage.sha256(path)} {version}")
    if not metrics:
        raise BadInput(f"{path.name} gives no metric that is one number a sample.")
    rows = [_make_row({arm: documents[arm][number] for arm in ARMS}, metrics) for number in sorted(documents[BASE])]
    made_with = {"task": path.name, "task_hash": storage.sha256(path), "lm-eval": version, "run": run.name}
    return summarise(_build_results(rows, metrics, loaded_model, made_with, run.recipe.seed))


def _find_task(task: str | Path) -> Path:
    path = Path(task).absolute()
    if not path.is_file():
        raise BadInput(f"There is no task {task}: name the YAML file of an lm-eval task.")
    return path


def _run_arms(
    loaded_model: LoadedModel, path: Path, limit: int | None, batch: int
) -> tuple[dict[str, dict[int, Document]], dict[str, bool]]:
    """Each arm's documents by number, and for each metric whether higher is better."""
    documents: dict[str, dict[int, Document]] = {}
    higher_is_better: dict[str, bool] = {}
    for arm in ARMS:
        with loaded_model.as_base(arm == BASE):
            samples, higher_is_better = _run_task(loaded_model, path, limit, batch)
        documents[arm] = _group_by_document(samples)
    return documents, higher_is_better


def _build_results(
    rows: list[AnsweredRow], metrics: list[Metric], loaded_model: LoadedModel, made_with: dict[str, str], seed: int
) -> Results:
    """The results without scores and verdict, which ``summarise`` computes from them."""
    model_facts = {
        "model_hash": loaded_model.source.hash,
        "template_hash": template_hash(loaded_model.tokenizer),
        "versions": machine.versions(),
    }
    return {
        "version": VERSION,
        "seed": seed,
        "model": loaded_model.name,
        "data_hash": hashlib.sha256("".join(row["id"] for row in rows).encode()).hexdigest(),
        "made_with": {**made_with, **model_facts},
        "arms": list(ARMS),
        "subject": TUNED,
        "rivals": [BASE],
        "metrics": metrics,
        "scores": [],
        "rows": rows,
        "warnings": cluster_caveats(rows, "document"),
        "verdict": {},
    }


def _run_task(
    loaded_model: LoadedModel, path: Path, limit: int | None, batch: int
) -> tuple[list[Sample], dict[str, bool]]:
    """One arm's samples, and for each metric whether higher is better."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    with _task_errors(path):
        keys, _ = task_code.read_task(path)
        _require_local(keys, path.parent)
        for file in path.parent.rglob("*.yaml"):  # lm-eval reads them all
            task_code.read_task(file)
        with contextlib.chdir(path.parent), _offline():
            tasks = TaskManager(include_path=str(path.parent), include_defaults=False)
            model = _guarded_lm_eval_model()(
                pretrained=loaded_model.model, tokenizer=loaded_model.tokenizer, batch_size=batch
            )
            output = lm_eval.simple_evaluate(
                model,
                tasks=[keys["task"]],
                task_manager=tasks,
                limit=limit,
                log_samples=True,
                bootstrap_iters=0,
                apply_chat_template=True,
                confirm_run_unsafe_code=False,
            )
        return output["samples"][keys["task"]], output["higher_is_better"][keys["task"]]


@contextlib.contextmanager
def _task_errors(path: Path) -> Iterator[None]:
    """Raise every error of a task as ``BadInput`` with the task's name."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:  # lm-eval and a task's own code may raise anything
        message = (str(error).splitlines() or [""])[0]
        raise BadInput(f"lm-eval can't run {path.name}: {type(error).__name__}: {message[:300]}") from error


def _guarded_lm_eval_model() -> type:
    """The model class of lm-eval, whose chat template is first rendered in a process that can be ended."""
    from lm_eval.models.huggingface import HFLM

    class GuardedModel(HFLM):  # type: ignore[misc]  # lm-eval has no types
        def apply_chat_template(self, chat_history: list[Message], add_generation_prompt: bool = True) -> str:
            """As in lm-eval: a template that refuses a system message is rendered without one."""
            try:
                template_engine.apply_template(self.tokenizer, [Conversation(chat_history, add_generation_prompt)])
            except BadData:
                chat_history = [message for message in chat_history if message["role"] != "system"]
                template_engine.apply_template(self.tokenizer, [Conversation(chat_history, add_generation_prompt)])
            return str(super().apply_chat_template(chat_history, add_generation_prompt))

    return GuardedModel


def _require_local(keys: dict[str, Any], folder: Path) -> None:
    """Check that the task's data are local files, in the task's folder or below."""
    if keys.get("dataset_path") not in ("json", "csv", "parquet", "text"):
        raise BadInput(
            f"dataset_path is {keys.get('dataset_path')!r}: only local json, csv, parquet and text are read."
        )
    files = _find_texts([keys.get("include"), (keys.get("dataset_kwargs") or {}).get("data_files")])
    outside_files = [file for file in files if not folders.is_within(folder / file, folder)]
    if outside_files and not folders.is_outside_allowed():
        raise OutsideFolder(
            f"The task names {outside_files[0][: folders.NAME_SHOWN]!r}, which is not beside it or below: it was not "
            "read. If you mean that file: --allow-outside (allow_outside=True)."
        )


def _find_texts(value: object) -> list[str]:
    """Every text within lists and mappings."""
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in items for text in _find_texts(item)]


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Switch the Hub off: ``datasets`` would report a download even for a local file."""
    import datasets
    import huggingface_hub

    modules: tuple[Any, ...] = (datasets.config, huggingface_hub.constants)
    old_values = [module.HF_HUB_OFFLINE for module in modules]
    try:
        for module in modules:
            module.HF_HUB_OFFLINE = True
        yield
    finally:
        for module, old_value in zip(modules, old_values):
            module.HF_HUB_OFFLINE = old_value


def _group_by_document(samples: list[Sample]) -> dict[int, Document]:
    """The samples by document and filter."""
    documents: dict[int, Document] = {}
    for sample in samples:
        documents.setdefault(sample["doc_id"], {})[str(sample.get("filter", "none"))] = sample
    return documents


def _metric_values(document: Document) -> dict[str, object]:
    """The metrics of a document: ``acc``, or ``exact_match,strict`` if there are several filters."""
    return {
        f"{name},{filter_name}" if len(document) > 1 else name: sample[name]
        for filter_name, sample in document.items()
        for name in sample.get("metrics", [])
        if name in sample
    }


def _find_metrics(
    documents: dict[str, dict[int, Document]], higher_is_better: dict[str, bool], code: str
) -> list[Metric]:
    """The metrics with one finite number for every document of every arm."""
    all_values = [_metric_values(document) for by_number in documents.values() for document in by_number.values()]
    metrics: list[Metric] = []
    for name in all_values[0]:
        values = [document_values.get(name) for document_values in all_values]
        numbers = [value for value in values if isinstance(value, bool | int | float) and math.isfinite(value)]
        if len(numbers) == len(values):
            metrics.append(
                {
                    "name": name,
                    "spec": f"lm-eval {name}",
                    "hash": hashlib.sha256(f"{code} {name}".encode()).hexdigest(),
                    "unit": unit_of(numbers),
                    "better": "higher" if higher_is_better.get(name.split(",")[0], True) else "lower",
                }
            )
    return metrics


def _make_row(documents: dict[str, Document], metrics: list[Metric]) -> AnsweredRow:
    """One row of the results from one document's samples by arm."""
    samples = {arm: next(iter(document.values())) for arm, document in documents.items()}
    base_sample = samples[BASE]
    prompt, name = str(_requests(base_sample)[0][0]), base_sample["doc_hash"]
    values: dict[str, dict[str, float | None]] = {metric["name"]: {} for metric in metrics}
    for arm, document in documents.items():
        for metric in metrics:
            value: Any = _metric_values(document)[metric["name"]]
            values[metric["name"]][arm] = bool(value) if metric["unit"] == SHARE else float(value)
    return {
        "id": name,
        "lang": "",
        "template": name,
        "cluster": f"{base_sample['doc_id']} {name}",
        "slices": [],
        "row": {"id": name, "messages": [{"role": "user", "content": prompt}]},
        "overlap": None,
        "prompt": prompt,
        "truth": str(base_sample["target"]),
        "rendered": {arm: str(_requests(sample)[0][0]) for arm, sample in samples.items()},
        "answers": {arm: _find_answer(sample) for arm, sample in samples.items()},
        "raw": {arm: str(sample["resps"]) for arm, sample in samples.items()},
        "correct": {},
        "weights": {},
        "errors": {},
        "values": values,
    }


def _find_answer(sample: Sample) -> str:
    """The answer's text; of several choices the likeliest."""
    responses = sample["filtered_resps"]
    is_sequence = isinstance(responses, list | tuple) and bool(responses)
    if is_sequence and isinstance(responses[0], list | tuple) and isinstance(responses[0][0], float):
        likelihoods = [float(response[0]) for response in responses]
        return str(_requests(sample)[likelihoods.index(max(likelihoods))][1])
    return str(responses[0] if is_sequence else responses)


def _requests(sample: Sample) -> list[list[object]]:
    """The arguments of each request: prompt and continuation, or prompt and options."""
    arguments = sample["arguments"]
    requests = arguments.values() if isinstance(arguments, dict) else arguments
    return [list(request.values()) if isinstance(request, dict) else list(request) for request in requests]
