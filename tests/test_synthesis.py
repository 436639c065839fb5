"""Rows that a model makes: every answer once, within the budget, kept over kills, each with its ancestors."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import etabli
from chaos_endpoint import ChaosEndpoint
from etabli.core.errors import BadData, BadInput, BadRecipe, EtabliError
from etabli.data.dataset import Dataset
from etabli.synthesis import novelty, teachers
from etabli.synthesis.recipe import SynthRecipe, Verifier
from etabli.synthesis.synth import synth
from etabli.synthesis.verify import make_verify

KEY = "sk-" + "q" * 40


@pytest.fixture
def seeds(tmp_path):
    rows = [
        {
            "id": f"s{number}",
            "messages": [
                {"role": "user", "content": f"What is {number} plus {number}?"},
                {"role": "assistant", "content": str(2 * number)},
            ],
            "source": "sums",
            "split": "test" if number == 0 else "train",
        }
        for number in range(41)
    ]
    Dataset(rows).save(tmp_path / "seeds")
    return str(tmp_path / "seeds")


@pytest.fixture
def endpoint(monkeypatch):
    """Starts an endpoint, and sets the environment for it."""
    opened = []

    def start(**settings):
        one = ChaosEndpoint(**settings)
        opened.append(one.__enter__())
        monkeypatch.setenv(teachers.ADDRESS, one.address)
        monkeypatch.setenv(teachers.KEY, KEY)
        return one

    yield start
    for one in opened:
        one.__exit__()


def recipe(seeds, maker="distil", **more):
    return SynthRecipe(maker=maker, seeds=seeds, **{"teacher": {"endpoint": "m"}, **more})


def rows_of(out):
    return Dataset.open(out / "dataset").rows


# --- makers ---------------------------------------------------------------------------------------------------------


def test_distilled_rows_know_where_they_come_from_and_test_rows_are_never_asked(seeds, endpoint, tmp_path):
    one = endpoint()
    result = synth(recipe(seeds, teacher={"endpoint": "gpt-4o"}), tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert result["accepted"] == len(rows) == result["requests"] == one.requests == 40
    assert not any("What is 0 plus 0?" in text for text in one.answered)
    row = next(row for row in rows if row["parents"] == ["s7"])
    assert row["messages"][0]["content"] == "What is 7 plus 7?" and row["messages"][1]["content"].startswith("answer ")
    assert (
        row["generator"] == "gpt-4o" and "OpenAI's terms forbid" in row["terms"] and row["source"] == "distil from sums"
    )
    assert row["columns"]["depth"] == 1 and len(row["columns"]["request"]) == 24


def test_rows_made_of_made_rows_are_one_deeper(seeds, endpoint, tmp_path):
    endpoint()
    synth(recipe(seeds, count=3), tmp_path / "one")
    synth(recipe(str(tmp_path / "one" / "dataset"), count=3), tmp_path / "two")
    assert {row["columns"]["depth"] for row in rows_of(tmp_path / "two")} == {2}


def test_the_first_sample_that_the_verifier_accepts_is_kept_with_its_rate(seeds, endpoint, tmp_path):
    """Of each question's samples the second and the fourth are numbers."""
    asked = {}

    def answer(messages, number):
        question = messages[-1]["content"]
        asked[question] = asked.get(question, 0) + 1
        return str(asked[question]) if asked[question] % 2 == 0 else "a word"

    endpoint(answer=answer)
    job = recipe(seeds, "sample", samples=4, verifier={"pattern": r"^\d+$"}, count=5, concurrency=1)
    result = synth(job, tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert result["accepted"] == 5 and result["requests"] == 20
    assert {row["messages"][-1]["content"] for row in rows} == {"2"}
    assert all((row["columns"]["accepted_samples"], row["columns"]["samples"]) == (2, 4) for row in rows)


def test_new_questions_are_like_no_other_and_rejects_name_their_neighbour(seeds, endpoint, tmp_path):
    def answer(messages, number):
        words = f"Tell me something about the animal number {'x' * number} please"
        return f"Question: {words}\nAnswer: yes\n\nQuestion: What is 7 plus 7?\nAnswer: 14\n\nQuestion: Hm?\nAnswer: b"

    endpoint(answer=answer)
    result = synth(recipe(seeds, "self-instruct", count=4, rouge=0.95, concurrency=2), tmp_path / "out")
    data = Dataset.open(tmp_path / "out" / "dataset")
    assert result["accepted"] == 4 == len(data.rows) and len(data.rows[0]["parents"]) == 3
    near = [row for row in data.rejected if row["reasons"][0]["filter"] == "near"]
    assert near and near[0]["reasons"][0]["like"] == "s7" and near[0]["reasons"][0]["value"] == 1.0
    assert {row["reasons"][0]["filter"] for row in data.rejected} == {"near", "length"}


def test_a_teacher_that_says_nothing_new_ends_the_job(seeds, endpoint, tmp_path):
    one = endpoint(answer=lambda messages, number: "Question: What is 7 plus 7?\nAnswer: 14")
    result = synth(recipe(seeds, "self-instruct", count=4, concurrency=2), tmp_path / "out")
    assert result["accepted"] == 0 and result["stopped"] == "10 rounds without a new row" and one.requests == 20


def test_a_local_teacher_answers_in_batches(seeds, tmp_path, tiny):
    job = recipe(seeds, count=3, teacher={"local": str(tiny), "temperature": 0, "max_tokens": 4})
    result = synth(job, tmp_path / "out")
    assert result["requests"] == 3 and result["cost"] == 0


# --- faults ---------------------------------------------------------------------------------------------------------


def test_every_fault_at_random_and_every_answer_once(seeds, endpoint, tmp_path):
    one = endpoint(rate=0.4, seed=3)
    prices = {"input": 1_000_000.0, "output": 1.0}
    result = synth(recipe(seeds, prices=prices), tmp_path / "out")
    assert (result["prompt_tokens"], result["answer_tokens"]) == tuple(one.paid), "the bill is the endpoint's own"
    assert result["cost"] == pytest.approx(one.paid[0] + one.paid[1] / 1e6)
    rows = rows_of(tmp_path / "out")
    assert len({row["parents"][0] for row in rows}) == len(rows) == result["accepted"]
    assert result["accepted"] + sum(result["rejected"].values()) == 40


def test_the_same_command_again_asks_only_what_is_missing(seeds, endpoint, tmp_path):
    one = endpoint()
    first = synth(recipe(seeds, budget={"tokens": 150}, concurrency=2), tmp_path / "out")
    assert first["stopped"] == "150 tokens" and first["accepted"] < 40
    assert first["prompt_tokens"] + first["answer_tokens"] < 150 + 2 * 20
    second = synth(recipe(seeds), tmp_path / "out")
    assert second["accepted"] == 40 == one.requests == len(set(one.answered))
    third = synth(recipe(seeds), tmp_path / "out")
    assert third["asked_now"] == 0 and third["accepted"] == 40 and third["requests"] == 40


def test_a_wrong_key_and_an_endpoint_that_is_down_say_what_to_check(seeds, endpoint, tmp_path, monkeypatch):
    one = endpoint()
    synth(recipe(seeds, count=2), tmp_path / "out")
    monkeypatch.setattr(one, "_reply", lambda writer, body: one._send(writer, 401, b'{"error": {"message": "key"}}'))
    with pytest.raises(EtabliError, match=r"refuses.*OPENAI_API_KEY"):
        synth(recipe(seeds), tmp_path / "out")
    assert len(rows_of(tmp_path / "out")) == 2, "what was answered before is written"
    monkeypatch.setenv(teachers.ADDRESS, "http://127.0.0.1:9/v1")
    monkeypatch.setattr(teachers, "RETRIES", 1)
    with pytest.raises(EtabliError, match="does not answer"):
        synth(recipe(seeds), tmp_path / "out")


def test_the_key_is_in_no_file_and_no_output(seeds, endpoint, tmp_path, capsys):
    one = endpoint(rate=0.2, faults=("empty", "refusal"))
    synth(recipe(seeds), tmp_path / "out")
    assert any(KEY in value for headers in one.headers for value in headers.values())
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    out = capsys.readouterr()
    assert KEY.encode() not in written and KEY not in out.out + out.err


CHILD = """
import sys
from etabli.synthesis.synth import synth
synth(sys.argv[1], sys.argv[2])
"""


def test_killed_three_times_nothing_is_paid_twice_but_what_was_on_its_way(seeds, endpoint, tmp_path):
    one, out, file = endpoint(delay=0.05), tmp_path / "out", tmp_path / "recipe.yaml"
    file.write_text(f"maker: distil\nseeds: {seeds}\nconcurrency: 4\nteacher:\n  endpoint: m\n")
    for more in (6, 8, 10):
        before = len(one.answered)
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(file), str(out)])
        end = time.monotonic() + 60
        while len(one.answered) < before + more and time.monotonic() < end:
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    result = synth(str(file), out)
    assert result["accepted"] == 40 == len(rows_of(out))
    twice = len(one.answered) - len(set(one.answered))
    assert twice <= 3 * 4, "at most what was on its way at each kill"


def test_a_full_disk_ends_the_job_and_keeps_what_was_written(seeds, endpoint, tmp_path, monkeypatch):
    from etabli.core.errors import NoSpace
    from etabli.synthesis import request_log

    endpoint()
    append, count = request_log.json_lines.append, 0

    def fill(path, line):
        nonlocal count
        count += 1
        if count > 3:
            raise NoSpace("The disk is full.")
        append(path, line)

    monkeypatch.setattr(request_log.json_lines, "append", fill)
    with pytest.raises(NoSpace):
        synth(recipe(seeds, concurrency=2), tmp_path / "out")
    kept = (tmp_path / "out" / "requests.jsonl").read_text().splitlines()
    assert kept and all(json.loads(line)["text"] for line in kept)
    monkeypatch.setattr(request_log.json_lines, "append", append)
    result = synth(recipe(seeds), tmp_path / "out")
    assert result["accepted"] == 40 and result["asked_now"] == 40 - len(kept)


# --- what it costs --------------------------------------------------------------------------------------------------


def test_a_dry_run_asks_nobody_and_is_never_too_cheap(seeds, endpoint, tmp_path):
    one = endpoint()
    job = recipe(seeds, prices={"input": 1.0, "output": 2.0}, teacher={"endpoint": "m", "max_tokens": 8})
    dry = synth(job, tmp_path / "dry", dry_run=True)
    assert one.requests == 0 and not (tmp_path / "dry").exists() and dry["dry_run"]
    real = synth(job, tmp_path / "out")
    assert dry["requests"] == real["requests"] and dry["cost"] >= real["cost"] > 0


@pytest.mark.parametrize("budget", [{"money": 0.0}, {"tokens": 0}, {"minutes": 1e-9}])
def test_a_budget_of_nothing_buys_nothing(seeds, endpoint, tmp_path, budget):
    one = endpoint()
    result = synth(recipe(seeds, budget=budget), tmp_path / "out")
    assert result["accepted"] == 0 and result["stopped"] and one.requests == 0


# --- recipes, verifiers, novelty --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"maker": "dream"}, "maker"),
        ({"teacher": {}}, "name one of endpoint, local and gguf"),
        ({"teacher": {"endpoint": "a", "local": "b"}}, "name one of"),
        ({"teacher": {"local": "default"}}, "greedy"),
        ({"samples": 0}, "samples"),
        ({"buget": {}}, "did you mean budget"),
    ],
)
def test_mistakes_of_a_recipe_are_named(keys, says):
    with pytest.raises(BadRecipe, match=says):
        SynthRecipe(**{"maker": "distil", "seeds": "x", "teacher": {"endpoint": "m"}, **keys})


def test_without_a_key_or_seeds_it_says_what_is_missing(seeds, tmp_path, monkeypatch):
    monkeypatch.delenv(teachers.KEY, raising=False)
    monkeypatch.delenv(teachers.ADDRESS, raising=False)
    with pytest.raises(BadInput, match="OPENAI_API_KEY"):
        synth(recipe(seeds), tmp_path / "out")
    only_test = [{**row, "split": "test"} for row in Dataset.open(seeds).rows]
    Dataset(only_test).save(tmp_path / "test")
    with pytest.raises(BadData, match="kept for a test"):
        synth(recipe(str(tmp_path / "test")), tmp_path / "out")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ('{"a": 1}', ""),
        ('{"a": "x"}', "JSON of another form"),
        ('```json\n{"a": 1}\n```', "JSON in a code fence"),
        ("Sure! Here it is.", "no JSON"),
    ],
)
def test_what_a_json_verifier_says(answer, why):
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    said = make_verify(Verifier(json_schema=schema))(answer, {"id": "r", "messages": []})
    assert said.startswith(why) and bool(said) == bool(why)


def test_a_verifier_of_your_own_says_yes_no_or_why():
    row = {"id": "r", "messages": []}
    assert make_verify(Verifier(), lambda answer, row: True)("a", row) == ""
    assert make_verify(Verifier(), lambda answer, row: "too short")("a", row) == "too short"
    assert "says no" in make_verify(Verifier(), lambda answer, row: False)("a", row)
    with pytest.raises(BadRecipe, match="pattern"):
        make_verify(Verifier(pattern="("))


WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "你"]), max_size=9)


@settings(max_examples=200)
@given(WORDS, WORDS)
def test_rouge_l_is_that_of_google_s_package(first, second):
    from rouge_score import rouge_scorer

    class Blanks:
        def tokenize(self, text):
            return text.split()

    scorer = rouge_scorer.RougeScorer(["rougeL"], tokenizer=Blanks())
    expected = scorer.score(" ".join(first), " ".join(second))["rougeL"].fmeasure
    assert novelty.rouge_l(first, second) == pytest.approx(expected)


@settings(max_examples=100)
@given(st.lists(WORDS, max_size=6), WORDS, st.sampled_from([0.5, 0.7, 1.0]))
def test_the_nearest_question_is_the_one_that_a_plain_search_finds(others, own, threshold):
    pool = novelty.Pool(threshold)
    for number, other in enumerate(others):
        pool.add(str(number), " ".join(other))
    values = [novelty.rouge_l(novelty.split_words(" ".join(own)), novelty.split_words(" ".join(o))) for o in others]
    best = max(values, default=0.0)
    found = pool.nearest(" ".join(own))
    assert (found is None) == (best < threshold) and (found is None or found[1] == pytest.approx(best))


def test_the_json_schema_is_sent_to_the_endpoint(seeds, endpoint, tmp_path):
    one = endpoint(answer=lambda messages, number: '{"a": 1}')
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    synth(recipe(seeds, count=1, teacher={"endpoint": "m", "json_schema": schema}), tmp_path / "out")
    sent = one.bodies[0]["response_format"]["json_schema"]
    assert sent["schema"] == schema and sent["strict"] is True


def test_a_line_of_the_log_that_is_no_reply_is_refused(seeds, endpoint, tmp_path):
    endpoint()
    synth(recipe(seeds, count=1), tmp_path / "out")
    with (tmp_path / "out" / "requests.jsonl").open("a") as file:
        file.write('{"request": "a", "text": 1}\n')
    with pytest.raises(BadInput, match="no reply"):
        synth(recipe(seeds, count=1), tmp_path / "out")


def test_synth_is_a_public_name():
    assert etabli.synth is synth


def test_answers_that_come_together_are_on_the_disk_before_they_are_used(tmp_path):
    from etabli.synthesis.request_log import RequestLog

    async def fill():
        log = RequestLog(tmp_path)
        await asyncio.gather(*(log.add(str(number), teachers.Reply(f"a{number}", 1, 2)) for number in range(50)))

    asyncio.run(fill())
    again = RequestLog(tmp_path)
    assert len(again.replies) == again.count == 50 and again.answer_tokens == 100
