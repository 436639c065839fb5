"""What a tuned model has to beat: lookup in the training rows, and the base prompted at its best."""

import json

from etabli.contracts import Message, Row
from etabli.evaluation.sets import asked, question, truth

SHOTS = 5


class Neighbours:
    """The closest training rows, by character n-grams (tf-idf, cosine)."""

    def __init__(self, rows: list[Row]):
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.rows = rows
        self._vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
        # A row without a letter would leave the vectoriser without words.
        self._index = self._vectors.fit_transform([asked(row) or row["id"] for row in rows])

    def of(self, row: Row, count: int = 1) -> list[Row]:
        """The ``count`` training rows closest to a row's question, closest first."""
        likeness = (self._index @ self._vectors.transform([asked(row)]).T).toarray()[:, 0]
        return [self.rows[index] for index in likeness.argsort(kind="stable")[::-1][:count]]


def by_language(tests: list[Row], train: list[Row]) -> dict[str, Neighbours]:
    """Neighbours for each language of the tests, of that language where there are any."""
    found = {}
    for lang in sorted({str(row.get("lang")) for row in tests}):
        found[lang] = Neighbours([row for row in train if str(row.get("lang")) == lang] or train)
    return found


def closest(rows: list[Row], near: dict[str, Neighbours]) -> list[Row]:
    """The closest training row of each."""
    return [near[str(row.get("lang"))].of(row)[0] for row in rows]


def lookup(rows: list[Row], near: dict[str, Neighbours]) -> list[str]:
    """The answer of the closest training row."""
    return [truth(row) for row in closest(rows, near)]


def prompted(rows: list[Row], near: dict[str, Neighbours], shots: int = SHOTS) -> list[list[Message]]:
    """What a person would try first: the instruction, every intent there is, and the closest worked examples.

    The closest example stands last, next to the question.
    """
    talks = []
    briefings: dict[str, str] = {}
    for row in rows:
        mine = near[str(row.get("lang"))]
        system = _briefing(row, mine.rows, briefings)
        worked = [turn for shot in reversed(mine.of(row, shots)) for turn in _turns(shot)]
        talks.append([*system, *worked, *_turns(row)[:-1]])
    return talks


def without_farthest(talk: list[Message], row: Row) -> list[Message] | None:
    """The same prompt with one worked example less, the farthest; None if there is none left."""
    head = [turn for turn in talk[:1] if turn["role"] == "system"]
    rest, own = talk[len(head) :], len(_turns(row)) - 1
    starts = [at for at, turn in enumerate(rest[: len(rest) - own]) if turn["role"] == "assistant"]
    return [*head, *rest[starts[0] + 1 :]] if starts else None


def _turns(row: Row) -> list[Message]:
    said = row["messages"][: len(question(row)) + 1]
    return [message for message in said if message["role"] != "system"]


def _briefing(row: Row, train: list[Row], known: dict[str, str]) -> list[Message]:
    said = " ".join(message["content"] for message in row["messages"] if message["role"] == "system")
    lang = str(row.get("lang"))
    if lang not in known:
        kinds = _intents(train)
        known[lang] = f" Answer with JSON alone. The intents are: {', '.join(kinds)}." if kinds else ""
    whole = (said + known[lang]).strip()
    return [{"role": "system", "content": whole}] if whole else []


def _intents(train: list[Row]) -> list[str]:
    """The values of ``intent`` among the training answers, where answers are such JSON."""
    found = set()
    for row in train:
        try:
            found.add(json.loads(truth(row))["intent"])
        except (ValueError, TypeError, KeyError):
            return []
    return sorted(map(str, found))
