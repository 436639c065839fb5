"""Split a conversation with tool calls: each call, and the last answer, is a question of its own."""

from collections.abc import Sequence

from etabli.core.contracts import Row
from etabli.data.questions import answer_places


def has_earlier_call(row: Row) -> bool:
    """Return whether a row has a tool call before its last answer."""
    return any(row["messages"][place].get("tool_calls") for place in answer_places(row)[:-1])


def split_at_calls(row: Row) -> list[Row]:
    """The questions of a row with an earlier call, in order; the row itself if it has none.

    Each question ends in the turn that is its truth, ``messages[3]`` of row ``r12`` in question ``r12#3``. No question
    has turns that come after its truth. The row stands in the ``parents``. An empty last answer is no question.
    """
    if not has_earlier_call(row):
        return [row]
    places = answer_places(row)
    turns = row["messages"]
    judged = [place for place in places if turns[place].get("tool_calls")]
    if turns[places[-1]]["content"] and places[-1] not in judged:
        judged.append(places[-1])
    return [_end_at(row, place) for place in judged]


def describe_split(rows: Sequence[Row], questions: Sequence[Sequence[Row]]) -> list[str]:
    """One sentence with the number of rows that were split and of their questions, if there are any.

    Args:
        rows: the test rows; questions: of each row, as ``split_at_calls`` returns them.
    """
    split_rows = [(row, parts) for row, parts in zip(rows, questions) if has_earlier_call(row)]
    if not split_rows:
        return []
    question_count = sum(len(parts) for _, parts in split_rows)
    sentences = [
        f"{len(split_rows)} of {len(rows)} test rows have tool calls before their last answer: they were split into "
        f"{question_count} questions, one for each call and one for the last answer; each counts as a row from here on."
    ]
    empty_count = sum(len(parts[-1]["messages"]) <= answer_places(row)[-1] for row, parts in split_rows)
    if empty_count:
        sentences.append(f"{empty_count} of these rows end in an empty answer, which was left out.")
    return [" ".join(sentences)]


def _end_at(row: Row, place: int) -> Row:
    parents = [*(row.get("parents") or []), row["id"]]
    return {**row, "id": f"{row['id']}#{place}", "parents": parents, "messages": row["messages"][: place + 1]}
