"""Argilla's records as its versions export them, as columns: the questions' submitted answers beside the fields."""

from collections.abc import Iterator, Mapping

from etabli.data.reading.layout import Item

_DISCARDED = "discarded"


def is_record(item: Item) -> bool:
    """Return whether a row has ``fields`` and ``responses`` (version 2 and feedback sets of 1), or is a record of 1."""
    is_feedback = isinstance(item.get("fields"), Mapping) and isinstance(item.get("responses"), Mapping | list)
    return is_feedback or ("annotation" in item and "prediction" in item and ("inputs" in item or "text" in item))


def unfold(item: Item) -> dict[str, object]:
    """Return a record as version 2 writes it flat: fields, ``NAME.responses`` and ``NAME.responses.status``."""
    if "fields" not in item:
        return _unfold_old(item)
    columns = {name: value for name, value in item.items() if name not in ("fields", "responses", "suggestions")}
    fields = item["fields"] if isinstance(item["fields"], Mapping) else {}
    columns |= fields
    for question, answers in _answers_by_question(item["responses"]).items():
        columns[f"{question}.responses"] = [answer for answer, _ in answers]
        columns[f"{question}.responses.status"] = [status for _, status in answers]
    if not any(name.endswith(".responses") for name in columns):
        columns["response.responses"] = []  # nobody answered
    return columns | ({"suggestions": item["suggestions"]} if item.get("suggestions") else {})


def _answers_by_question(responses: object) -> dict[str, list[tuple[object, object]]]:
    """Return for each question its answers with their status."""
    answers: dict[str, list[tuple[object, object]]] = {}
    for question, answer, status in _responses(responses):
        value = answer.get("value") if isinstance(answer, Mapping) else answer
        own_status = answer.get("status") if isinstance(answer, Mapping) else None
        answers.setdefault(question, []).append((value, own_status or status or "submitted"))
    return answers


def _responses(responses: object) -> Iterator[tuple[str, object, object]]:
    """Yield (question, answer, status): version 2 has a list by question, version 1 a list of people's answers."""
    if isinstance(responses, Mapping):
        for question, several in responses.items():
            yield from (
                (str(question), answer, None) for answer in (several if isinstance(several, list) else [several])
            )
        return
    for response in responses if isinstance(responses, list) else []:
        values = response.get("values") if isinstance(response, Mapping) else None
        for question, answer in values.items() if isinstance(values, Mapping) else ():
            yield str(question), answer, response.get("status")


def _unfold_old(item: Item) -> dict[str, object]:
    """Return a record of text classification or text to text of version 1."""
    inputs = item.get("inputs")
    columns = {name: value for name, value in item.items() if name not in ("inputs", "annotation", "status")}
    columns |= inputs if isinstance(inputs, Mapping) else {"text": inputs} if inputs else {}
    is_answered = item["annotation"] is not None and str(item.get("status")).casefold() != _DISCARDED
    columns["annotation.responses"] = [item["annotation"]] if is_answered else []
    return columns
