"""What rows say, cost and give away; rules of one's own; what was not run; how it is shown."""

import csv
import json
import random
import re
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import etabli
import malformed
from etabli.checks import cost, custom_rules, language
from etabli.checks.check import check
from etabli.core import trust
from etabli.core.errors import BadInput
from etabli.data import catalogue
from etabli.data.dataset import Dataset
from etabli.data.reading.source import read
from etabli.models import counting
from etabli.rendering.render import Renderer, render


def codes(question, answer, **more):
    row = {"prompt": question, "completion": answer}
    return {item["code"] for item in check([row], **more).findings()} - {"licence-unknown"}


CLEAN = [
    ("What is the capital of France?", "The capital of France is Paris."),
    ("Name three colours.", "1. Red\n2. Green\n3. Blue"),
    ("Quelle est la capitale de la France ?", "La capitale de la France est Paris."),
    (
        "Translate 'the harbour is north of the town' into French, please.",
        "Le port se trouve au nord de la vieille ville.",
    ),
    ("Write an apology for being late.", "I'm sorry I was late this morning; the train stood still for an hour."),
    ("What does an AI engineer do?", "As an AI engineer, she builds systems that learn from data."),
    ("Write a Jinja loop.", "```jinja\n{% for x in xs %}{{ x }}{% endfor %}\n```"),
    ("Strike this out in HTML.", "Use <s>this</s> for it."),
    ("سلام، حال شما چطور است؟", "من خوبم، می\u200cخواهم بدانم حال شما چطور است و امروز چه می\u200cکنید."),
    (
        "Send me a family.",
        "Here you are: \U0001f468\u200d\U0001f469\u200d\U0001f467, and a flag: \U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    ),
    ("Which version?", "Version 10.0.0.1 of the library, released on 2024-01-02 10:20."),
    ("Add 1234567890 and 1.", "That makes 1234567891."),
    ("Who wrote it?", "Write to anna@example.org or call (212) 555-0123."),
    ("What is the address?", "postgres://user:password@localhost/db is how such an address looks."),
    ("Give an HTML link.", '<a href="https://example.org">here</a>'),
]


@pytest.mark.parametrize("question, answer", CLEAN)
def test_nothing_is_found_where_nothing_is_wrong(question, answer):
    assert codes(question, answer) == set()


@pytest.mark.parametrize(
    "question, answer, code",
    [
        ("Describe the picture below.", "A boat.", "unseen-media"),
        ("Décris l'image ci-jointe.", "Un bateau.", "unseen-media"),
        ("Summarise https://example.org/report.pdf for me.", "It is long.", "unseen-media"),
        (
            "How do I reach the harbour from here, and when does it open?",
            "Der Hafen liegt nördlich der alten Stadt, und die Boote fahren jeden Morgen um sieben.",
            "wrong-language",
        ),
        ("Write a loop.", "```python\nfor x in xs:\n    print(x)", "truncated-answer"),
        ("Who are you?", "Hello {{name}}, I was made by {{author}} for you.", "leaked-template"),
        ("Say it again and again.", "This is a line that repeats itself.\n" * 8, "repetition"),
    ],
)
def test_what_is_wrong_is_found(question, answer, code):
    assert code in codes(question, answer)


def test_the_same_question_twice():
    rows = [("a?", "one"), ("b?", "two"), ("A? ", "One"), ("a?", "three"), ("a?", "three")]
    report = check([{"prompt": question, "completion": answer} for question, answer in rows])
    found = [(item["row"], item["code"]) for item in report.findings() if item["row"] is not None]
    assert found == [(2, "duplicate-row"), (3, "conflicting-answers"), (4, "duplicate-row")]


ODD = [
    "a",
    " ",
    "\n",
    "1. ",
    "Instruction: x\n",
    "as an AI ",
    "a@",
    "a.",
    "0 ",
    "(",
    "http://a:",
    "FR76 3000 ",
    "<|",
    "{{ ",
    "```",
    "the image ",
    "I am sorry ",
    "je ne ",
    "### ",
    "eyJa.",
    "-----BEGIN ",
    "12-",
    "+33 1 ",
    "\u200b",
    "漢",
    "<html",
]


@pytest.mark.parametrize("piece", ODD)
def test_no_text_hangs_a_pattern(piece):
    """A pattern that goes back and forth over such a text takes minutes; the whole check takes a tenth of a second."""

    def stop(*_):
        raise AssertionError(f"a check hangs on {piece!r}")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    text = (piece * 20_000)[:20_000]
    try:
        report = check([{"prompt": text[:10_000] + "?", "completion": text + "x", "lang": "en"}])
    finally:
        signal.alarm(0)
    assert report.rows == 1


REFUSALS = [
    "I'm afraid I can't help with that.",
    "I must decline this request.",
    "I can't do this.",
    "I cannot write that for you.",
    "I won't be able to help you with this.",
    "I'm not comfortable writing about it.",
    "Sorry, but that's not something I can help with.",
    "I apologize, but this request goes against ethical guidelines.",
    "You did not include the text to be summarised.",
    "Navré, je ne peux pas vous aider.",
    "Je regrette, mais je ne peux pas répondre.",
    "Je refuse de répondre à cela.",
    "Il m'est impossible de répondre à cette question.",
    "Je ne suis pas autorisé à donner cette information.",
    "Vous n'avez pas joint le rapport dont il est question.",
    "Je ne saurais répondre à cela.",
]
NO_REFUSALS = [
    "Unfortunately, we do not have this item in stock at the moment, but it will be back on Monday.",
    "Sorry, we don't have any bread left.",
    "Désolé, je ne peux pas venir ce soir.",
    "I do not have access to my account since Monday, so I am writing to you.",
    "At a wedding it is inappropriate to wear white.",
    "Malheureusement, je ne peux pas venir samedi ; je vous prie de m'en excuser.",
    "I cannot provide for my family, he thought.",
    "As an AI engineer I have worked on search for ten years.",
    "I was trained by Google engineers in Zurich.",
    "My programming skills include Python and Rust.",
]


@pytest.mark.parametrize("answer", REFUSALS)
def test_refusals(answer):
    assert "refusal" in codes("Would you do this for me, please?", answer)


@pytest.mark.parametrize("answer", NO_REFUSALS)
def test_no_refusals(answer):
    assert not {"refusal", "ai-disclaimer"} & codes("Write one sentence for me, please.", answer)


PII = [
    ("My card is 4111 1111 1111 1111.", "pii-card"),
    ("Carte 4111\u00a01111\u00a01111\u00a01111", "pii-card"),
    ("Mastercard 2223003122003222", "pii-card"),
    ("IBAN BE68 5390 0754 7034 BIC KREDBEBB", "pii-iban"),
    ("ES91 2100 0418 4502 0005 1332 CODE 1", "pii-iban"),
    ("Mon numéro : 1.85.05.78.006.084.91", "pii-nir"),
    ("Appelle-moi au 06/12/34/56/78 ce soir", "pii-phone"),
    ("Appelle le 06\u202f12\u202f34\u202f56\u202f78", "pii-phone"),
    ("Write to bob@test-drive.com", "pii-email"),
    ("Écris à rené.dupont@orange.fr", "pii-email"),
    ("From 81.2.69.142.", "pii-ip"),
    ("password: hunter2Hunter2", "secret"),
    ("mot de passe : S3cr3tP4ss", "secret"),
    ("été -> Ã©tÃ©", "mojibake"),
    ("aws_secret_access_key=wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLE1", "secret"),
    ("pay\u200bpal\u200b", "invisible"),
]


@pytest.mark.parametrize("text, code", PII)
def test_personal_data_in_many_forms(text, code):
    assert code in codes("What do you say?", f"{text}")


NO_PII = [
    "Write to user@domain.com or git@github.com:owner/repo.git.",
    "The class sk-loading-spinner-animated-large turns.",
    "Set postgresql://user:secret@localhost/db there.",
    "Order 490-12 came on 2024-05-06 at 10:20.",
    "Donau\u00addampf",
    "Use 12 345 678 euros as an example.",
]


@pytest.mark.parametrize("text", NO_PII)
def test_what_is_no_personal_data(text):
    assert not codes("What do you say?", text)


def test_calls_and_tools_are_looked_at():
    call = {
        "name": "mail",
        "arguments": {"to": "bob.smith@gmail.com", "key": "AKIA" + "IOSFODNN7EXAMPL1", "x": "a\u202eb"},
    }
    row = {
        "messages": [
            {"role": "user", "content": "Send it."},
            {"role": "assistant", "content": None, "tool_calls": [call]},
        ]
    }
    report = check([row])
    assert {"pii-email", "secret", "bidi"} <= report.counts.keys()
    assert "AKIA" + "IOSFODNN7EXAMPL1" not in "".join(report.json_pieces())


# --- what is not run is said ------------------------------------------------------------------------------------------


def test_a_language_without_rules_is_not_passed():
    german = {
        "prompt": "Wo liegt der Hafen dieser Stadt, und wann öffnet er morgens?",
        "completion": "Es tut mir leid, als KI-Modell kann ich diese Frage leider nicht beantworten.",
    }
    report = check([german] * 3)
    assert "ai-disclaimer" not in report.counts
    item = next(item for item in report.not_run if "refusal" in item["check"])
    assert item["rows"] == 3 and "de (3 rows)" in item["why"] and item["fix"]


def test_an_answer_that_no_rules_looked_at_is_counted_whatever_the_question_was():
    row = {
        "prompt": "Where is the harbour of this town, and when does it open?",
        "completion": "Der Hafen liegt nördlich der alten Stadt, und die Boote fahren jeden Morgen um sieben.",
    }
    for more in ({}, {"lang": "en"}):
        item = next(item for item in check([{**row, **more}]).not_run if "refusal" in item["check"])
        assert item["rows"] == 1 and "de (1 row)" in item["why"]


def test_toxicity_is_not_run():
    """There is no word list any more: its ten hits on real rows were all innocent (docs/log.md)."""
    report = check(malformed.rows("alpaca"))
    items = [item for item in report.not_run if item["check"] == "toxicity"]
    assert [item["rows"] for item in items] == [report.rows] and "--rules FILE" in items[0]["fix"]
    assert "toxicity" not in {item["name"] for item in report.checks} | catalogue.CODES.keys()


def test_without_a_model_cost_is_not_run(monkeypatch):
    monkeypatch.setattr("etabli.models.embedded.is_cached", lambda: False)
    report = check(malformed.rows("alpaca"))
    assert report.cost is None and [item["fix"] for item in report.not_run if item["check"] == "cost"] == [
        "--model default"
    ]


def test_every_check_names_its_rules_and_languages():
    assert {item["name"] for item in check(malformed.rows("alpaca")).checks} == {
        "form",
        "meaning",
        "safety",
        "cost",
    }
    assert all(item["by"] and item["languages"] for item in check(malformed.rows("alpaca")).checks)


# --- secrets are not passed on ----------------------------------------------------------------------------------------

SECRETS = [
    "AKIA" + "IOSFODNN7EXAMPLE",
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "a1B2c3" * 10,
    "glpat-" + "a1B2c3d4" * 3,
    "hf_" + "aBcD" * 9,
    "sk-ant-api03-" + "a1B2" * 8,
    "sk-proj-" + "a1B2" * 8,
    "sk-" + "a1B2c3D4" * 5,
    "AIza" + "a1B2c3D" * 5,
    "xoxb-" + "1234567890-abcdef",
    "sk_live_" + "a1B2c3D4" * 3,
    "npm_" + "a1B2" * 9,
    "pypi-AgE" + "a1B2c3D4" * 8,
    "SG." + "a1B2c3D4" * 3 + "." + "a1B2c3D4" * 5,
    "123456789:AA" + "a1B2c3D4e5F" * 3,
    "eyJ" + "hbGciOiJIUzI1" + ".eyJ" + "zdWIiOiIxMjM0" + ".SflKxwRJSMeK",
    "-----BEGIN RSA PRIVATE KEY-----",
    "https://anna:s3cr3t-pw@db.example.org/x",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_are_found_and_not_repeated(secret):
    report = check([{"prompt": "What is the key?", "completion": f"It is {secret} as you know."}])
    assert report.counts.get("secret") == 1
    said = "".join(report.json_pieces()) + report.text() + report._repr_html_()
    assert secret not in said


# --- cost -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def light(embedded):
    return counting.load_tokenizer(str(embedded.folder))


def test_the_light_tokenizer_is_the_whole_one(light, tokenizer, commands):
    talks = [row["messages"] for row in commands.rows[:60]]
    talks += [[{"role": "user", "content": "é漢字🙂 <|im_end|>\n\n x"}, {"role": "assistant", "content": " ok "}]]
    for talk in talks:
        assert light.apply_chat_template(talk) == tokenizer.apply_chat_template(talk, tokenize=False)
        assert render(talk, light) == render(talk, tokenizer)


TEXT = st.text(st.sampled_from("ab é漢🙂\n<|im_end|>" + "x. "), min_size=1, max_size=40)


@given(
    turns=st.lists(TEXT, min_size=2, max_size=5),
    policy=st.sampled_from(["answers", "last", "all"]),
    most=st.integers(1, 80),
)
def test_measuring_is_counting_what_is_rendered(light, turns, policy, most):
    talk = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(turns)]
    whole = render(talk, light, policy)
    assert Renderer(light).count_tokens(talk, policy, most) == (
        len(whole),
        sum(whole.trained[1:]),
        sum(whole.trained[1:most]),
    )


def test_what_is_asked_for_wrongly_is_said_once(write_jsonl):
    for keys, said in (
        ({"policy": "foo"}, "Unknown mask policy"),
        ({"max_length": 0}, "number of tokens"),
        ({"columns": {"prompt": "nope"}}, "no column 'nope'"),
    ):
        with pytest.raises(etabli.EtabliError, match=said):
            check(malformed.rows("alpaca"), **keys)


def test_truncation_is_told_with_its_numbers(light):
    rows = [{"prompt": "a?", "completion": "word " * 100}, {"prompt": "word " * 100, "completion": "b"}]
    report = check(rows, model="default", max_length=64)
    whole = [len(render(row["messages"], light)) for row in read(rows)]
    said = {item["code"]: item["why"] for item in report.findings()}
    assert f"{whole[0]} tokens: {whole[0] - 64} are beyond max_length 64" in said["truncated-row"]
    assert "nothing of the answer is left" in said["answer-cut-off"]
    assert report.cost["tokens"] == sum(whole) and report.cost["truncated_tokens"] == sum(whole) - 128


def test_the_cost_is_what_a_run_trains(light, tiny, write_jsonl):
    from etabli.runs.recipe import Recipe
    from etabli.training.packing import pack_rows
    from etabli.training.tokenize_dataset import tokenize_rows

    path = write_jsonl([{"prompt": f"Say {n}", "completion": "word " * n + "."} for n in range(1, 120)])
    recipe = Recipe(model=tiny, data=str(path), max_length=64, tokens_per_batch=64)
    rows = tokenize_rows(read(path), light, recipe)[0]
    told = check(path, model=tiny, max_length=64).cost
    assert told["trained_tokens"] == sum(row.trained_tokens for row in rows)
    assert told["steps"] <= len(pack_rows(rows, recipe, 0)) * told["epochs"] <= 1.3 * told["steps"]


@pytest.mark.parametrize(
    "rows, epochs", [(1, 25), (10, 10), (33, 3), (34, 3), (8333, 3), (8334, 2), (26_000, 1), (10**6, 1)]
)
def test_automatic_epochs(rows, epochs):
    assert cost.suggest_epochs(rows) == epochs


def test_time_is_told_only_from_a_run_that_was_measured(tmp_path, monkeypatch, write_jsonl):
    monkeypatch.chdir(tmp_path)
    path = write_jsonl(malformed.rows("alpaca"))
    assert "seconds" not in check(path, model="default").cost
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text("model: default\n")
    (run / "events.jsonl").write_text('{"kind": "step", "tokens_per_s": 100.0}\n')
    told = check(path, model="default").cost
    assert told["seconds"] == round(told["tokens"] * told["epochs"] / 100) and "runs/a" in told["seconds_from"]


# --- rules of one's own -----------------------------------------------------------------------------------------------

RULES = '''
import etabli

@etabli.own_check(severity="warning", fix="Say it in digits.")
def spelled_number(row):
    """A number in words."""
    return "twelve" in row["messages"][-1]["content"] and "It says twelve."

@etabli.own_filter
def short(row):
    return len(row["messages"][-1]["content"]) < 40

@etabli.own_check
def breaks(row):
    return row["no such key"] if "break" in row["messages"][0]["content"] else None
'''


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(RULES)
    return path


def test_own_rules_are_in_the_table(rules):
    rows = [("a?", "twelve"), ("b?", "x" * 50), ("break", "c")]
    report = check([{"prompt": question, "completion": answer} for question, answer in rows], rules=rules)
    found = {item["code"]: (item["severity"], item["row"], item["why"]) for item in report.findings()}
    assert found["spelled-number"] == ("warning", 0, "It says twelve.")
    assert found["short"][:2] == ("info", 1)
    assert found["rule-raised"][:2] == ("error", 2) and "breaks raised KeyError" in found["rule-raised"][2]
    assert [item["name"] for item in report.checks if item["own"]] == ["spelled-number", "short", "breaks"]
    assert report.code == 1


def test_a_filter_that_raises_is_an_error_whatever_else_it_finds():
    @etabli.own_filter
    def odd(row):
        if "1" in row["messages"][0]["content"]:
            raise ValueError("one")
        return False

    report = check([{"prompt": f"{n}?", "completion": f"It is {n}."} for n in range(3)], rules=odd)
    assert (report.counts["odd"], report.counts["rule-raised"], report.code) == (2, 1, 1)


def test_a_rule_does_not_give_a_secret_away():
    @etabli.own_check
    def quotes(row):
        return "It says " + row["messages"][-1]["content"]

    report = check([{"prompt": "Which key?", "completion": f"It is {SECRETS[4]} as you know."}], rules=quotes)
    assert report.counts["quotes"] == 1 and SECRETS[4] not in "".join(report.json_pieces())


def test_a_rule_that_ends_the_process_or_gives_an_array():
    import numpy as np

    @etabli.own_check
    def leaves(row):
        raise SystemExit(0)

    @etabli.own_check
    def several(row):
        return np.array([True, False])

    assert check(malformed.rows("alpaca", 2), rules=[leaves, several]).counts["rule-raised"] == 4


def test_a_rule_file_is_read_again_when_it_changed(rules):
    row = [{"prompt": "a?", "completion": "It says thirteen."}]
    assert "spelled-number" not in check(row, rules=rules).counts
    rules.write_text(RULES.replace("twelve", "thirteen"))
    assert "spelled-number" in check(row, rules=rules).counts


def test_a_rule_can_not_change_the_rows():
    @etabli.own_check
    def spoils(row):
        row["messages"].clear()

    rows = read(malformed.rows("alpaca"))
    kept, _ = custom_rules.filter_rows(rows, custom_rules.load_rules(spoils))
    assert kept == rows and all(row["messages"] for row in kept)


@pytest.mark.parametrize(
    "source, said",
    [("nowhere.py", "no file of rules"), (len, "not decorated"), ([print], "not decorated")],
)
def test_rules_that_are_none(source, said):
    with pytest.raises(BadInput, match=said):
        custom_rules.load_rules(source)


def test_a_rule_file_that_breaks_or_holds_none(tmp_path):
    for text, said in (("1/0", "ZeroDivisionError"), ("x = 1", "no function with")):
        (tmp_path / "r.py").write_text(text)
        trust.remember([trust.read_code(tmp_path / "r.py", "rules")])
        with pytest.raises(BadInput, match=said):
            custom_rules.load_rules(tmp_path / "r.py")


def test_a_rule_can_not_take_a_built_in_name():
    with pytest.raises(BadInput, match="built-in"):
        etabli.own_check(type("f", (), {"__name__": "nan", "__doc__": None, "__call__": len})())
    with pytest.raises(BadInput, match="severity"):
        etabli.own_check(severity="bad")


# --- how it is shown --------------------------------------------------------------------------------------------------


@etabli.own_check
def repeats(row):
    """Says what it was asked."""
    return row["messages"][0]["content"]


def test_csv_is_harmless(tmp_path):
    evil = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "＝1"]
    rows = [{"prompt": text, "completion": "a;=HYPERLINK(1)"} for text in evil for _ in range(2)]  # heads are quoted
    report = check(rows, rules=repeats)
    count = report.to_csv(tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert count == len(lines) - 1 == len(report.frame)
    assert not [cell for line in lines for cell in line if re.match(r"[=+\-@\t\r＝]", cell)]
    cells = {cell for line in lines for cell in line}
    assert {"'=1+1", "'+1", "'-1", "'@SUM(A1)", "'＝1"} <= cells
    assert all(line.startswith('"') for line in (tmp_path / "out.csv").read_text().splitlines())


def test_a_page_holds_no_markup_of_the_data():
    report = check(
        [{"prompt": "<script>alert(1)</script> a picture: see the image", "completion": "<b>N/A</b>"}, {"<i>": 1}]
    )
    page = report._repr_html_()
    assert "<script" not in page and "<i>" not in page and "<b>N/A" not in page and "&lt;script" in page


def test_the_page_groups_by_code_worst_first():
    rows = [*malformed.rows("alpaca"), {"instruction": "a", "output": ""}, {"instruction": "b", "output": "N/A"}]
    page = check(rows)._repr_html_().split("</style>", 1)[1]
    assert page.index("empty-answer") < page.index("placeholder") < page.index("licence-unknown")
    assert page.count("<details>") == 2 + 3  # the preview, what was looked at, and one a code


def test_rows_of_one_code():
    rows = [{"instruction": str(n), "output": ""} for n in range(60)]
    report = check(rows)
    assert len(report.of("empty-answer")) == 60 and report.text().count("\n           row ") == 3
    assert report.text("empty-answer").count("\n           row ") == 60


def test_the_documentation_is_the_table():
    from pathlib import Path

    assert (Path(__file__).parents[1] / "docs" / "checks.md").read_text(encoding="utf-8") == catalogue.page()


def test_several_processes_find_what_one_does(tmp_path):
    rng = random.Random(0)
    cases = [
        malformed.text_at("alpaca", row, text) for row in malformed.rows("alpaca") for text in malformed.TEXTS.values()
    ]
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(rng.choice(cases)) + "\n" for _ in range(1500)))
    one, two = check(path, workers=1), check(path, workers=2)
    assert list(one.findings()) == list(two.findings()) and one.cost == two.cost and one.lineage == two.lineage


def test_language_tags():
    assert [language.base_code(tag) for tag in ("fr-CA", "EN_us", "de", "", None, "french")] == [
        "fr",
        "en",
        "de",
        None,
        None,
        None,
    ]


def test_a_data_set_folder_is_checked_too(commands, dataset):
    assert check(dataset).rows == len(commands) and check("home-commands").code == 0
    report = check(commands)
    assert report.rows == len(commands) and report.format["name"] == "chat"
    assert isinstance(commands, Dataset) and report.lineage["licence"] == {"Apache-2.0": len(commands)}
