"""Rows as annotation tools and APIs export them, made flat: Label Studio, Argilla, Prodigy, Gemini and SQuAD.

A row that an annotator rejected is left out with a note, and so is one that nobody answered.
"""

import json
from collections.abc import Mapping, Sequence

from etabli.data.notes import Note, excerpt
from etabli.data.reading import argilla, gemini
from etabli.data.reading.columns import Exported
from etabli.data.reading.layout import Item
from etabli.data.reading.states import is_rejected

_RESPONSES = ".responses"  # Argilla: "NAME.responses" beside "NAME.responses.status"
_RESULT_KEYS = ("choices", "text", "rating", "number", "labels", "taxonomy")


def flatten(item: object) -> tuple[object, list[Note]]:
    """Return a row as its columns, and notes about what of it is not used; None instead of a row that is left out."""
    if isinstance(item, list) and len(item) == 1 and isinstance(item[0], Mapping) and not {"role", "from"} & {*item[0]}:
        item = item[0]  # every row in a list of its own
    if not isinstance(item, Mapping):
        return item, []
    for recognise, convert in _CONVERTERS:
        if recognise(item):
            try:
                return convert(item)
            except (TypeError, ValueError, KeyError, AttributeError):  # it only looked like one
                return item, []
    return item, []


def _mappings(value: object) -> list[Mapping[str, object]]:
    """Return the objects of a list; none if it is no list."""
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _left_out(field: str, value: object, why: str = "") -> tuple[None, list[Note]]:
    return None, [Note("rejected", field, excerpt(value), why)]


def _one_answer(field: str, answers: Sequence[object]) -> tuple[object, list[Note]]:
    """Return the first of several answers, and a note if there are others."""
    different = {json.dumps(answer, sort_keys=True, default=str) for answer in answers}
    notes = [Note("other-answers", field, excerpt(list(answers)))] if len(different) > 1 else []
    return answers[0], notes


# --- Label Studio -----------------------------------------------------------------------------------------------------


# Keys of a task that say nothing about its row.
_TASK_KEYS = {
    *("id", "data", "annotations", "predictions", "drafts", "file_upload", "created_at", "updated_at", "inner_id"),
    *("total_annotations", "cancelled_annotations", "total_predictions", "comment_count", "unresolved_comment_count"),
    *("last_comment_updated_at", "project", "updated_by", "comment_authors", "is_labeled", "overlap", "avg_lead_time"),
    *("draft_exists", "agreement", "allow_skip", "unique_lock_id", "precomputed_agreement"),
}


def _is_label_studio(item: Item) -> bool:
    return isinstance(item.get("data"), Mapping) and isinstance(item.get("annotations"), list)


def _flatten_label_studio(item: Item) -> tuple[object, list[Note]]:
    annotations = _mappings(item["annotations"])
    kept = [entry for entry in annotations if not is_rejected(entry) and entry.get("result")]
    if not kept:
        why = "" if annotations else "Nobody annotated it: it has no answer."
        return _left_out("annotations", item["annotations"], why)
    columns: dict[str, object] = dict(item["data"]) if isinstance(item["data"], Mapping) else {}
    columns |= {name: value for name, value in item.items() if name not in {*columns, *_TASK_KEYS} and value}
    notes: list[Note] = []
    results = [_label_studio_results(entry["result"]) for entry in kept]
    answers: list[str] = []
    for name in dict.fromkeys(name for result in results for name in result):
        answers.append(f"annotations.{name}" if name in columns else name)  # the task's own column stays what it is
        columns[answers[-1]], more = _one_answer(name, [result[name] for result in results if name in result])
        notes += more
    if item.get("predictions"):
        columns["predictions"] = item["predictions"]
    return Exported(columns, _label_studio_objects(kept, columns, answers), answers), notes


def _label_studio_objects(
    annotations: Sequence[Mapping[str, object]], columns: Mapping[str, object], answers: Sequence[str]
) -> list[str]:
    """Return the columns that were annotated: those that results name, else every text of the task."""
    results = [result for entry in annotations for result in _mappings(entry["result"])]
    names = [str(result.get("to_name")) for result in results]
    texts = [name for name, value in columns.items() if isinstance(value, str) and name not in answers]
    return [name for name in dict.fromkeys(names) if name in texts] or sorted(texts, key=lambda name: "id" in name)


def _label_studio_results(results: object) -> dict[str, object]:
    """Return the values that one annotation gives, by the name of the control that gave each."""
    values: dict[str, list[object]] = {}
    for result in results if isinstance(results, list) else []:
        value = result.get("value") if isinstance(result, Mapping) else None
        if isinstance(value, Mapping):
            kind = next((key for key in (result.get("type"), *_RESULT_KEYS) if key in value), None)
            content = value if "start" in value or kind is None else value[kind]  # a span of the text stays whole
            values.setdefault(str(result.get("from_name")), []).append(content)
    return {name: _unpack_single(several) for name, several in values.items()}


def _unpack_single(value: object) -> object:
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value


# --- Argilla ----------------------------------------------------------------------------------------------------------


def _is_argilla(item: Item) -> bool:
    return any(str(name).endswith(_RESPONSES) for name in item) or argilla.is_record(item)


def _flatten_argilla(item: Item) -> tuple[object, list[Note]]:
    item = argilla.unfold(item) if argilla.is_record(item) else item
    questions = [str(name).removesuffix(_RESPONSES) for name in item if str(name).endswith(_RESPONSES)]
    columns = {name: value for name, value in item.items() if not _is_of_question(str(name), questions)}
    notes: list[Note] = []
    for question in questions:
        responses, statuses = item[f"{question}{_RESPONSES}"], item.get(f"{question}{_RESPONSES}.status")
        answers = _submitted(responses, statuses)
        if answers:
            columns[question], more = _one_answer(question, answers)
            notes += more
    if not any(question in columns for question in questions):
        return _left_out(questions[0], item.get(f"{questions[0]}{_RESPONSES}"), "It has no submitted response.")
    return Exported(columns, (), [question for question in questions if question in columns]), notes


def _is_of_question(name: str, questions: Sequence[str]) -> bool:
    return any(name.startswith((f"{question}{_RESPONSES}", f"{question}.suggestion")) for question in questions)


def _submitted(responses: object, statuses: object) -> list[object]:
    responses = responses if isinstance(responses, list) else [] if responses is None else [responses]
    statuses = statuses if isinstance(statuses, list) and len(statuses) == len(responses) else [None] * len(responses)
    return [answer for answer, status in zip(responses, statuses) if status in (None, "submitted")]


# --- Prodigy ----------------------------------------------------------------------------------------------------------


def _is_prodigy(item: Item) -> bool:
    return item.get("answer") in ("accept", "reject", "ignore", "skip") and bool(
        {"_input_hash", "_task_hash", "text"} & {*item}
    )


def _flatten_prodigy(item: Item) -> tuple[object, list[Note]]:
    if item["answer"] != "accept":
        return _left_out("answer", item["answer"])
    columns = {name: value for name, value in item.items() if name != "answer" and not str(name).startswith("_")}
    choices = {option.get("id"): option.get("text") for option in _mappings(columns.pop("options", None))}
    chosen_ids = columns.get("accept")
    if isinstance(chosen_ids, list):
        columns["label"] = _unpack_single([choices.get(choice) or choice for choice in chosen_ids])
        del columns["accept"]
    return columns, []


# --- SQuAD ------------------------------------------------------------------------------------------------------------


def _is_squad(item: Item) -> bool:
    return {"context", "question", "answers"} <= item.keys() and isinstance(item["answers"], Mapping | list)


def _flatten_squad(item: Item) -> tuple[object, list[Note]]:
    answers = item["answers"]
    entries = answers.get("text") if isinstance(answers, Mapping) else answers
    entries = entries if isinstance(entries, list) else [entries] if entries else []
    texts = [entry.get("text") if isinstance(entry, Mapping) else entry for entry in entries]
    if not texts:
        return _left_out("answers", answers, "The text does not answer the question.")
    answer, notes = _one_answer("answers", texts)
    columns = {name: value for name, value in item.items() if name not in ("context", "question", "answers")}
    return {**columns, "instruction": item["question"], "input": item["context"], "output": answer}, notes


_CONVERTERS = (
    (_is_label_studio, _flatten_label_studio),
    (_is_argilla, _flatten_argilla),
    (_is_prodigy, _flatten_prodigy),
    (_is_squad, _flatten_squad),
    (gemini.is_gemini, gemini.flatten),
)
