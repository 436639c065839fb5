"""Every score equals an implementation of its own, written here, on a thousand random cases."""

import json
import math
import random
import re
import string
from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etabli.core.errors import BadInput, MissingExtra
from etabli.evaluation.scores import answers, default_scores, libraries, load_scores, structured
from etabli.evaluation.scores.registry import NAMES

CASES = 1000
WORDS = [
    "the",
    "A",
    "an",
    "Cat",
    "cat,",
    "sat.",
    "on",
    "mat!",
    "und",
    "Straße",
    "日本",
    "1,234",
    "-5",
    "3.50",
    "x2",
    "{",
    "'s",
]


def texts(seed):
    """Pairs of texts that are often nearly the same."""
    rng = random.Random(seed)
    for _ in range(CASES):
        one = [rng.choice(WORDS) for _ in range(rng.randint(0, 9))]
        other = [word if rng.random() < 0.8 else rng.choice(WORDS) for word in one] + [rng.choice(WORDS)] * (
            rng.random() < 0.3
        )
        yield rng.choice(["  ", " ", "\n"]).join(one), " ".join(other if rng.random() < 0.7 else one)


# --- equal --------------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def canonical(value):
    return json.dumps(value, sort_keys=True)


@given(json_values, json_values)
def test_exact_is_equality_of_canonical_json(one, other):
    assert answers.exact(json.dumps(one, indent=1), json.dumps(other)) == (canonical(one) == canonical(other))


def test_exact_on_random_json_and_text():
    rng = random.Random(0)

    def value(depth=0):
        kind = rng.randint(0, 5 if depth < 3 else 3)
        simple = [None, rng.random() < 0.5, rng.randint(-2, 2), rng.choice("ab")]
        if kind < 4:
            return simple[kind]
        made = [value(depth + 1) for _ in range(rng.randint(0, 3))]
        return made if kind == 4 else {rng.choice("xyz"): item for item in made}

    equal = 0
    for _ in range(CASES):
        one = value()
        other = json.loads(json.dumps(one)) if rng.random() < 0.5 else value()
        equal += canonical(one) == canonical(other)
        assert answers.exact(json.dumps(one, indent=2), json.dumps(other)) == (canonical(one) == canonical(other))
    assert 300 < equal < 900
    for one, other in texts(1):
        if structured.read_json(other) is structured.UNREADABLE:
            assert answers.exact(one, other) == (re.sub(r"\s+", " ", one).strip() == re.sub(r"\s+", " ", other).strip())


def squad(text):
    """SQuAD's normalisation, its four steps one after the other."""
    text = "".join(character for character in text.lower() if character not in set(string.punctuation))
    return " ".join(word for word in re.split(r"\s+", text) if word not in ("a", "an", "the", ""))


def test_normalised_is_squads_rule():
    seen = Counter()
    for one, other in texts(2):
        same = squad(one) == squad(other) if squad(other) else one.lower().split() == other.lower().split()
        seen[same] += 1
        assert answers.normalised(one, other) == same, (one, other)
    assert min(seen.values()) > 100


# --- numbers ------------------------------------------------------------------------------------------------------


def test_number_reads_what_was_written():
    rng = random.Random(3)
    for _ in range(CASES):
        value = Decimal(rng.randint(-(10**9), 10**9)).scaleb(-rng.randint(0, 4))
        form = rng.choice(["{:f}", "{:,f}"]).format(value)
        before, after = (
            rng.choice(["", "It is ", "12 apples, so ", "$"]),
            rng.choice(["", ".", " euros", ", I think", "!"]),
        )
        assert answers.last_number(before + form + after) == value, before + form + after
        other = value + rng.choice([0, 1])
        assert answers.number(f"{before}{form}{after}", f"{other:f}") == (other == value)


@pytest.mark.parametrize(
    "text, value",
    [
        ("H2O", None),
        ("no number", None),
        ("3.14.15", None),
        ("1,234.5", "1234.5"),
        ("1,2,3", None),
        ("1, 2, 3", "3"),
        ("2,5", None),
        ("3/4", None),
        ("12:30", None),
        ("1 000", "1000"),
        ("1.000,50", None),
        ("50km", "50"),
        ("–5", "-5"),
        ("9-5", "5"),
        ("−7", "-7"),
        ("−1\u00a0234", "-1234"),
        ("2025-11", "11"),
        ("50%", "50"),
        ("#### 42", "42"),
        ("x = .5", "0.5"),
        ("v1", None),
        ("1e5", "100000"),
        ("1e99999", None),
        ("٣", None),
    ],
)
def test_what_is_a_number(text, value):
    assert answers.last_number(text) == (None if value is None else Decimal(value))


def test_a_truth_without_a_number_is_an_error():
    with pytest.raises(ValueError, match="no last number"):
        answers.number("42", "forty-two")


# --- patterns and schemas -----------------------------------------------------------------------------------------------


def test_regex_is_pythons():
    rng = random.Random(4)
    for (one, _), pattern in zip(
        texts(5), iter(lambda: rng.choice([r"\bcat", r"^\s*the", r"\d+", "(?i)CAT.$", "ß"]), 0)
    ):
        [score] = load_scores([f"regex:{pattern}"])
        assert score.compute(one, "", {}) == any(True for _ in re.finditer(pattern, one))


SCHEMA = {
    "type": "object",
    "required": ["intent"],
    "additionalProperties": False,
    "properties": {"intent": {"enum": ["On", "Off"]}, "level": {"type": "integer", "minimum": 0, "maximum": 10}},
}


def follows(text):
    """The schema above, written out by hand. A float without a fraction is an integer in JSON Schema."""
    try:
        held = json.loads(text)
    except ValueError:
        return False
    if not isinstance(held, dict) or not set(held) <= {"intent", "level"} or held.get("intent") not in ("On", "Off"):
        return False
    level = held.get("level", 0)
    return isinstance(level, int | float) and not isinstance(level, bool) and level == int(level) and 0 <= level <= 10


def test_json_schema(tmp_path):
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    [score] = load_scores([f"json_schema:{path}"])
    rng, seen = random.Random(6), Counter()
    for _ in range(CASES):
        held = {}
        if rng.random() < 0.9:
            held["intent"] = rng.choice(["On", "Off", "Off", "on", 1])
        if rng.random() < 0.7:
            held["level"] = rng.choice([0, 3, 10, 11, -1, 2.0, 2.5, True, "3"])
        if rng.random() < 0.1:
            held["more"] = 1
        text = json.dumps(held) if rng.random() < 0.9 else json.dumps(held)[:-1]
        seen[follows(text)] += 1
        assert score.compute(text, "", {}) is follows(text), text
    assert min(seen.values()) > 200


# --- libraries ----------------------------------------------------------------------------------------------------


def longest_common(one, other):
    before = [0] * (len(other) + 1)
    for a in one:
        line = [0]
        for at, b in enumerate(other):
            line.append(before[at] + 1 if a == b else max(before[at + 1], line[-1]))
        before = line
    return before[-1]


def test_rouge_l_is_the_longest_common_subsequence():
    def words(text):
        return re.findall("[a-z0-9]+", text.lower())

    for one, other in texts(7):
        a, b = words(one), words(other)
        common = longest_common(a, b)
        wanted_ = 2 * common / (len(a) + len(b)) if common else 0.0
        assert libraries.rouge_l(one, other) == pytest.approx(wanted_, abs=1e-9)


def chrf(answer, truth, beta=2.0):
    """Popovic's chrF: the mean F over the orders that both texts have, blanks taken out."""
    grams = lambda text, n: Counter(text[at : at + n] for at in range(len(text) - n + 1))  # noqa: E731
    a, b = "".join(answer.split()), "".join(truth.split())
    precision = recall = orders = 0.0
    for n in range(1, 7):
        one, other = grams(a, n), grams(b, n)
        if one and other:
            common = sum((one & other).values())
            precision, recall, orders = precision + common / one.total(), recall + common / other.total(), orders + 1
    if not orders or not precision + recall:
        return 0.0
    precision, recall = precision / orders, recall / orders
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)


def test_chrf():
    for one, other in texts(8):
        assert libraries.chrf(one, other) == pytest.approx(chrf(one, other), abs=1e-6), (one, other)


def instructed(names, kwargs, prompt="Say something."):
    return {
        "id": "r",
        "messages": [{"role": "user", "content": prompt}],
        "columns": {"instruction_id_list": names, "kwargs": kwargs},
    }


CHECKERS = {
    "punctuation:no_comma": ({}, lambda text, _: "," not in text),
    "keywords:existence": ({"keywords": ["cat", "mat"]}, lambda text, k: all(w in text.lower() for w in k["keywords"])),
    "keywords:forbidden_words": (
        {"forbidden_words": ["sat"]},
        lambda text, k: not any(re.search(rf"\b{w}\b", text.lower()) for w in k["forbidden_words"]),
    ),
    "keywords:frequency": (
        {"keyword": "cat", "frequency": 2, "relation": "at least"},
        lambda text, k: text.lower().count("cat") >= 2,
    ),
    "length_constraints:number_words": (
        {"num_words": 5, "relation": "at least"},
        lambda text, k: len(re.findall(r"\w+", text)) >= 5,
    ),
    "startend:quotation": ({}, lambda text, _: len(text.strip()) > 1 and text.strip()[0] == text.strip()[-1] == '"'),
    "detectable_format:json_format": ({}, lambda text, _: structured.read_json(text) is not structured.UNREADABLE),
    "startend:end_checker": (
        {"end_phrase": "mat!"},
        lambda text, k: text.strip().strip('"').lower().endswith(k["end_phrase"]),
    ),
    "detectable_format:title": ({}, lambda text, _: bool(re.search(r"<<[^\n]*[^\s<>][^\n]*>>", text))),
}


def test_ifeval_checkers():
    rng = random.Random(9)
    seen = Counter()
    for one, _ in texts(10):
        text = rng.choice(["{}", '"{}"', "<<{}>>", "{} mat!"]).replace("{}", one)
        chosen = rng.sample(sorted(CHECKERS), rng.randint(1, 2))
        row = instructed(chosen, [CHECKERS[name][0] for name in chosen])
        wanted_ = bool(text.strip()) and all(CHECKERS[name][1](text, CHECKERS[name][0]) for name in chosen)
        seen[wanted_] += 1
        assert libraries.ifeval(text, "", row) == wanted_, (text, chosen)
    assert min(seen.values()) > 100


def test_ifeval_says_what_is_missing():
    with pytest.raises(ValueError, match="no instruction_id_list"):
        libraries.ifeval("x", "", {"id": "r", "messages": []})
    with pytest.raises(KeyError, match="no:such"):
        libraries.ifeval("x", "", instructed(["no:such"], [{}]))


# --- choosing -------------------------------------------------------------------------------------------------------


@given(st.text(max_size=40))
def test_anything_may_be_answered(answer):
    for score in (answers.exact, answers.normalised, structured.valid_json):
        assert score(answer, '{"a": 1}') in (True, False)
    assert answers.number(answer, "5") in (True, False)
    assert 0 <= libraries.rouge_l(answer, "truth") <= 1 and 0 <= libraries.chrf(answer, "truth") <= 1


def test_what_is_and_is_not_valid():
    assert structured.valid_json('{"a": 1}') and not structured.valid_json('{"a": 1} and more')
    assert structured.valid_json(" [1, 2]\n") and structured.valid_json("{}")
    for bare in ("42", "-1.5", '"Paris"', "true", "null", ""):
        assert not structured.valid_json(bare), "neither an object nor an array"
    assert not structured.valid_json("NaN") and not structured.valid_json("[" * 100_000)
    assert answers.exact(" Paris\n", "Paris") and not answers.exact("paris", "Paris")


def test_every_name_makes_a_score(tmp_path):
    (tmp_path / "s.json").write_text("{}")
    (tmp_path / "mine.py").write_text(
        "def polite(answer, truth):\n    return 'please' in answer\n\ndef _not_this(a, b): ...\n"
    )
    filled = {
        "PATTERN": "a+",
        "FILE.py:FUNCTION": f"{tmp_path}/mine.py:polite",
        "FILE.py": f"{tmp_path}/mine.py",
        "FILE": f"{tmp_path}/s.json",
    }
    for name in NAMES:
        given_ = filled.get(name) or name
        for word in ("PATTERN", "FILE"):
            given_ = given_.replace(f":{word}", f":{filled[word]}")
        [score] = load_scores([given_])
        assert len(score.hash) == 64 and score.metric["better"] in ("higher", "lower")


@pytest.mark.parametrize(
    "name, said",
    [
        ("exakt", "Unknown score 'exakt'"),
        ("regex:(", "no regular expression"),
        ("regex", "Unknown score"),
        ("json_schema:nowhere.json", "can't be read"),
        ("nowhere.py", "no file of scores"),
    ],
)
def test_bad_names_are_told(name, said):
    with pytest.raises(BadInput, match=re.escape(said)):
        load_scores([name])


def test_bad_files_are_told(tmp_path):
    schema, module = tmp_path / "s.json", tmp_path / "m.py"
    schema.write_text('{"type": "no such type"}')
    with pytest.raises(BadInput, match="no JSON Schema"):
        load_scores([f"json_schema:{schema}"])
    schema.write_text("not json")
    with pytest.raises(BadInput, match="no JSON Schema"):
        load_scores([f"json_schema:{schema}"])
    module.write_text("def takes_one(answer): return True\n")
    with pytest.raises(BadInput, match="has no function of"):
        load_scores([str(module)])
    with pytest.raises(BadInput, match=r"takes_one can't be called as"):
        load_scores([f"{module}:takes_one"])
    schema.write_text('{"$ref": "http://127.0.0.1:1/x.json"}')
    with pytest.raises(BadInput, match="which is not followed"):
        load_scores([f"json_schema:{schema}"])
    schema.write_text('{"$schema": 5}')
    with pytest.raises(BadInput, match="no JSON Schema"):
        load_scores([f"json_schema:{schema}"])
    module.write_text("1 / 0\n")
    with pytest.raises(BadInput, match="ZeroDivisionError"):
        load_scores([str(module)])
    with pytest.raises(BadInput, match="Two scores are called exact"):
        load_scores(["exact", "exact"])


def test_a_missing_extra_is_told():
    with pytest.raises(MissingExtra, match=r"pip install 'etabli\[scores\]'"):
        libraries.require("no-such-package-at-all", "scores")


def test_own_functions_are_hashed_by_what_they_do():
    def one(answer, truth):
        return answer > truth

    def other(answer, truth):
        return answer < truth

    assert load_scores([one])[0].hash == load_scores([one])[0].hash != load_scores([other])[0].hash
    assert load_scores([lambda answer, truth, row: 0.5])[0].compute("", "", {}) == 0.5
    assert math.isclose(load_scores([one])[0].compute("b", "a", {}), True)


def test_what_own_functions_are_given():
    import functools

    import numpy as np

    def with_default(answer, truth, threshold=0.5):
        return threshold == 0.5

    def with_row(answer, truth, row=None):
        row["columns"].clear()
        return np.bool_(True)

    held = {"columns": {"x": 1}}
    assert load_scores([with_default])[0].compute("", "", held) is True
    assert load_scores([with_row])[0].compute("", "", held) and held == {"columns": {"x": 1}}, "a copy of the row"

    def closing(limit):
        def score(answer, truth):
            return len(answer) > limit

        return score

    assert load_scores([closing(1)])[0].hash != load_scores([closing(9)])[0].hash
    for odd in (functools.partial(with_default, threshold=1), len, type("C", (), {"__call__": lambda s, a, t: 1})()):
        with pytest.raises(BadInput, match=r"mine\.py:FUNCTION|can't be called"):
            load_scores([odd])
    with pytest.raises(BadInput, match="Unknown score 5"):
        load_scores([5])


def test_helpers_and_wrapped_functions_in_a_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from functools import lru_cache\n\ndef helper(x): return x\n\n@lru_cache\ndef kept(answer, truth): return True\n"
        "\ndef wrong(answer, truth): return False\nwrong.better = 'lower'\n"
    )
    found = {score.name: score for score in load_scores([str(path)])}
    assert set(found) == {"kept", "wrong"} and found["wrong"].better == "lower"
    assert found["kept"].metric["spec"] == f"{path}:kept"


@pytest.mark.parametrize(
    "answer, truth, right",
    [("", "A", False), ("The!", "A", False), ("a", "A", True), ("C", "C++", True), ("+", "+", True), ("-", "+", False)],
)
def test_normalising_leaves_something_to_compare(answer, truth, right):
    assert answers.normalised(answer, truth) is right


def names(rows, truths):
    return [score.name for score in default_scores(rows, truths)]


def test_what_suits_the_rows():
    plain = [{"id": "1", "messages": []}]
    assert names(plain, ['{"a": 1}']) == ["exact", "valid_json", "loss"]
    assert names(plain, ["42"]) == names(plain, ["true"]) == ["exact", "normalised", "loss"], "no JSON is asked for"
    assert names(plain, ["Paris"]) == ["exact", "normalised", "loss"]
    assert names(plain, ["a long answer of very many words that nobody would ever say quite so again"]) == [
        "loss",
        "exact",
    ]
    assert names([{**plain[0], "columns": {"choices": ["a", "b"]}}], ["a"]) == [
        "choice",
        "choice_norm",
        "exact",
        "loss",
    ]
    assert names([instructed(["punctuation:no_comma"], [{}])], ["x"]) == ["ifeval"]
