"""The baselines that a tuned model has to beat: lookup in the training rows, and the base prompted at its best."""

from collections.abc import Iterator, Sequence

from etabli.core import parsing
from etabli.core.contracts import Message, Row
from etabli.core.progress import show_progress
from etabli.data.questions import answer_message, question, truth

SHOTS = 5
CHUNK = 256  # test rows that are compared with all training rows at once


def nearest_rows(tests: list[Row], train: list[Row], count: int = 1) -> list[list[Row]]:
    """For each test row the ``count`` training rows closest to its question, closest first.

    By character n-grams (tf-idf, cosine), among the training rows of its language where there are any.
    """
    nearest: dict[int, list[Row]] = {}
    for lang in sorted({str(row.get("lang")) for row in tests}):
        indices = [index for index, row in enumerate(tests) if str(row.get("lang")) == lang]
        candidates = [row for row in train if str(row.get("lang")) == lang] or train
        nearest.update(zip(indices, _rank_by_ngrams([tests[index] for index in indices], candidates, count)))
    return [nearest[index] for index in range(len(tests))]


def _rank_by_ngrams(tests: list[Row], train: list[Row], count: int) -> Iterator[list[Row]]:
    """For each test row the ``count`` most similar training rows by character n-grams."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    # A system message that all rows share does not help to tell them from one another.
    with_system = len({_system_text(row) for row in [*tests, *train]}) > 1

    def text(row: Row) -> str:
        return "\n".join(turn["content"] for turn in question(row) if turn["role"] != "system" or with_system)

    # The vectoriser refuses a set of rows without any letter, so an empty row is replaced by its id.
    index = vectors.fit_transform([text(row) or row["id"] for row in train])
    for start in range(0, len(tests), CHUNK):
        part = vectors.transform([text(row) for row in tests[start : start + CHUNK]])
        for similarities in (part @ index.T).toarray():
            yield [train[number] for number in similarities.argsort(kind="stable")[::-1][:count]]


def _system_text(row: Row) -> str:
    return " ".join(turn["content"] for turn in row["messages"] if turn["role"] == "system")


@show_progress("looking up the most similar rows")
def lookup_answers(tests: list[Row], train: list[Row]) -> list[str]:
    """For each test row the answer of the closest training row."""
    return [truth(rows[0]) for rows in nearest_rows(tests, train)]


def build_prompts(
    tests: list[Row], train: list[Row], neighbours: Sequence[list[Row]], instructions: str | None = None
) -> list[list[Message]]:
    """Few-shot prompts: instructions and the closest worked examples, the closest next to the question.

    Args:
        neighbours: for each test row its worked examples, closest first.
        instructions: added to each row's own system text; by default, where answers are JSON with an ``intent``, the
            list of the intents.
    """
    instructions = _list_intents(train) if instructions is None else instructions
    prompts = []
    for row, shots in zip(tests, neighbours):
        system = " ".join(filter(None, [_system_text(row), instructions]))
        prompt: list[Message] = [{"role": "system", "content": system}] if system else []
        for shot in reversed(shots):
            answer = answer_message(shot)
            prompt += [*_question_without_system(shot), *([answer] if answer else [])]
        prompts.append(prompt + _question_without_system(row))
    return prompts


def without_farthest(prompt: list[Message], row: Row) -> list[Message] | None:
    """The same prompt without its farthest worked example; None if it has no example."""
    head = [turn for turn in prompt[:1] if turn["role"] == "system"]
    turns = prompt[len(head) :]
    examples = turns[: len(turns) - len(_question_without_system(row))]
    following_roles = [turn["role"] for turn in examples[1:]] + ["user"]
    is_end = [(turn["role"], role) == ("assistant", "user") for turn, role in zip(examples, following_roles)]
    ends = [number for number, ends_example in enumerate(is_end) if ends_example]
    return [*head, *turns[ends[0] + 1 :]] if ends else None


def without_system(prompt: list[Message]) -> list[Message]:
    """The same prompt with the system text in the first user turn, for templates that refuse a system turn."""
    system = " ".join(turn["content"] for turn in prompt if turn["role"] == "system")
    turns = [turn.copy() for turn in prompt if turn["role"] != "system"]
    first = next((turn for turn in turns if turn["role"] == "user"), None)
    if system and first:
        first["content"] = f"{system}\n\n{first['content']}"
    return turns


def _question_without_system(row: Row) -> list[Message]:
    return [turn for turn in question(row) if turn["role"] != "system"]


def _list_intents(train: list[Row]) -> str:
    """An instruction with every intent of the home commands; empty if an answer is no JSON with an ``intent``."""
    intents = set()
    for row in train:
        try:
            intents.add(str(parsing.parse_json(truth(row))["intent"]))
        except (ValueError, TypeError, KeyError):
            return ""
    return f"Answer with JSON alone. The intents are: {', '.join(sorted(intents))}." if intents else ""
