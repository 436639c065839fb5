"""What a tuned model has to beat: lookup in the training rows, and the base prompted at its best."""

from collections.abc import Iterator

from etabli.core import parsing
from etabli.core.contracts import Message, Row
from etabli.evaluation.test_set import question, truth

SHOTS = 5
CHUNK = 256  # test rows compared with all training rows at once


def nearest_rows(tests: list[Row], train: list[Row], count: int = 1) -> list[list[Row]]:
    """For each test row the ``count`` training rows closest to its question, closest first.

    By character n-grams (tf-idf, cosine), among the training rows of its language where there are any.
    """
    found: dict[int, list[Row]] = {}
    for lang in sorted({str(row.get("lang")) for row in tests}):
        mine = [at for at, row in enumerate(tests) if str(row.get("lang")) == lang]
        known = [row for row in train if str(row.get("lang")) == lang] or train
        found.update(zip(mine, _closest([tests[at] for at in mine], known, count)))
    return [found[at] for at in range(len(tests))]


def _closest(tests: list[Row], train: list[Row], count: int) -> Iterator[list[Row]]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    same = len({_system(row) for row in [*tests, *train]}) == 1  # then it tells no row from another
    # A row without a letter would leave the vectoriser without words.
    index = vectors.fit_transform([_said(row, same) or row["id"] for row in train])
    for start in range(0, len(tests), CHUNK):
        part = vectors.transform([_said(row, same) for row in tests[start : start + CHUNK]])
        for likeness in (part @ index.T).toarray():
            yield [train[at] for at in likeness.argsort(kind="stable")[::-1][:count]]


def _said(row: Row, without_system: bool) -> str:
    return "\n".join(t["content"] for t in question(row) if t["role"] != "system" or not without_system)


def _system(row: Row) -> str:
    return " ".join(turn["content"] for turn in row["messages"] if turn["role"] == "system")


def lookup_answers(tests: list[Row], train: list[Row]) -> list[str]:
    """The answer of the closest training row."""
    return [truth(near[0]) for near in nearest_rows(tests, train)]


def build_prompts(
    tests: list[Row], train: list[Row], near: list[list[Row]], instructions: str | None = None
) -> list[list[Message]]:
    """What a person would try first: instructions and the closest worked examples, the closest next to the question.

    Args:
        near: for each test row its worked examples, closest first.
        instructions: added to each row's own system text; by default, where answers are JSON with an ``intent``, the
            list of those.
    """
    said = _intents(train) if instructions is None else instructions
    talks = []
    for row, shots in zip(tests, near):
        worked = [turn for shot in reversed(shots) for turn in [*_turns(shot), _answer(shot)]]
        system = " ".join(filter(None, [_system(row), said]))
        talks.append([*([{"role": "system", "content": system}] if system else []), *worked, *_turns(row)])
    return talks


def without_farthest(talk: list[Message], row: Row) -> list[Message] | None:
    """The same prompt with one worked example less, the farthest; None if there is none left."""
    head = [turn for turn in talk[:1] if turn["role"] == "system"]
    rest = talk[len(head) :]
    starts = [at for at, turn in enumerate(rest[: len(rest) - len(_turns(row))]) if turn["role"] == "assistant"]
    return [*head, *rest[starts[0] + 1 :]] if starts else None


def without_system(talk: list[Message]) -> list[Message]:
    """System text in the first user turn, for templates that refuse a system turn."""
    system = " ".join(turn["content"] for turn in talk if turn["role"] == "system")
    rest = [dict(turn) for turn in talk if turn["role"] != "system"]
    first = next((turn for turn in rest if turn["role"] == "user"), None)
    if system and first:
        first["content"] = f"{system}\n\n{first['content']}"
    return rest


def _turns(row: Row) -> list[Message]:
    return [turn for turn in question(row) if turn["role"] != "system"]


def _answer(row: Row) -> Message:
    return row["messages"][len(question(row))]


def _intents(train: list[Row]) -> str:
    """What a person would write above the home commands: every intent there is."""
    found = set()
    for row in train:
        try:
            found.add(str(parsing.parse_json(truth(row))["intent"]))
        except (ValueError, TypeError, KeyError):
            return ""
    return f"Answer with JSON alone. The intents are: {', '.join(sorted(found))}." if found else ""
