"""Data that nobody tuned for: the bundled mails, what a check finds in them, and the notebooks on such files."""

import csv
import json
import logging
import random
import re
import shutil
from collections import Counter

import pytest

import etabli
from etabli.app import notebooks, report
from etabli.core.errors import BadData, BadRecipe
from etabli.curation.groups import group_near_copies
from etabli.data.dataset import Dataset
from etabli.data.questions import truth
from etabli.data.samples import CUSTOMER_MAIL_COLUMNS, customer_mails
from etabli.evaluation import baselines
from etabli.evaluation.clusters import cluster_rows
from etabli.review.session import open_session
from etabli.training import train_data

# What was put into the file by hand: finding -> the tickets that have it. The ticket T-1040 is in row 0.
PLANTED = {
    "answer-cut-off": {1082},
    "empty-answer": {1053},
    "empty-prompt": {1075},
    "ragged-row": {1092},
    "pii-phone": {1060, 1109},
    "wrong-language": {1067, 1090},
    "ai-disclaimer": {1070},
    "conflicting-answers": {1063},
    "control-characters": {1115},
    "control-token": {1087},
    "duplicate-row": {1050},
    "invisible": {1099},
    "leaked-template": {1071},
    "mojibake": {1056},
    "pii-card": {1085},
    "pii-email": {1061},
    "pii-iban": {1076},
    "placeholder": {1065},
    "refusal": {1098},
    "repetition": {1089},
    "unseen-media": {1055},
}
OF_THE_FILE = {"bom", "extra-columns", "licence-unknown"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read_sample():
    with customer_mails().open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


# --- the sample -----------------------------------------------------------------------------------------------------


def test_the_check_finds_what_was_planted_in_the_mails_and_nothing_else(embedded):
    checked = etabli.check("customer-mails", model="default")
    assert checked.rows == len(read_sample()) == 80
    tickets = {}
    for finding in checked.findings():
        if finding["row"] is not None:
            tickets.setdefault(finding["code"], set()).add(1040 + finding["row"])
    assert tickets == PLANTED
    assert set(checked.counts) - set(PLANTED) == OF_THE_FILE


def test_the_file_itself_is_read_with_its_columns_named():
    by_name = etabli.check("customer-mails").counts
    assert etabli.check(customer_mails(), columns=CUSTOMER_MAIL_COLUMNS).counts == by_name
    unnamed = etabli.check(customer_mails())
    assert unnamed.code == 2 and unnamed.counts.get("unknown-format") == 1


def test_the_mails_are_of_two_languages_and_one_is_long():
    rows = read_sample()
    assert Counter(row["language"] for row in rows)["en"] > 30 < Counter(row["language"] for row in rows)["fr"]
    assert sorted(len(row["customer_mail"]) for row in rows)[-1] > 3000
    assert "<br>" in "".join(row["customer_mail"] for row in rows)  # no check sees it


def test_lookup_gains_from_near_copies_on_both_sides(folder):
    data = etabli.Project.open(data="customer-mails", leave_out=["error"]).prepare()
    count = len(data.part("test"))

    def count_hits(test, train):
        return sum(answer == truth(row) for answer, row in zip(baselines.lookup_answers(test, train), test))

    shuffled = random.Random(0).sample(data.rows, len(data))
    assert count_hits(data.part("test"), data.part("train")) == 0 < count_hits(shuffled[:count], shuffled[count:])
    groups = dict(zip((row["id"] for row in data.rows), group_near_copies(data.rows)))
    assert len(set(groups.values())) < len(data)


def test_near_copies_stay_together_in_every_split_and_in_the_intervals(folder):
    data = etabli.Project.open(data="customer-mails", leave_out=["error"]).prepare()
    saved = Dataset.open("datasets/customer-mails").rows
    group_of = {row["messages"][0]["content"]: row["copy_group"] for row in saved}
    assert len({group_of[text] for text in group_of if text.startswith("Êtes-vous ouverts")}) == 1
    train = [row for row in saved if row["split"] == "train"]
    for seed in range(5):
        kept, held_out = train_data.hold_out(train, seed)
        assert held_out and not {row["copy_group"] for row in kept} & {row["copy_group"] for row in held_out}
    kinds, clusters = cluster_rows(saved)
    assert kinds == "near-copies, question" and len(set(clusters)) == len({row["copy_group"] for row in saved})
    assert etabli.check("datasets/customer-mails").counts.get("unknown-key") is None
    assert [row["copy_group"] for row in etabli.read("datasets/customer-mails")] == [r["copy_group"] for r in data.rows]


# --- rows that are left out -----------------------------------------------------------------------------------------


def test_rows_with_errors_are_refused_until_somebody_decides(folder, capsys):
    project = etabli.Project.open(data="customer-mails")
    assert project.check().rows == 80  # the check works where reading refuses
    with pytest.raises(BadData, match=r"(?s)3 of 80 rows.*LEAVE_OUT = \['error'\]"):
        project.prepare()
    capsys.readouterr()
    data = etabli.Project.open(leave_out=["empty-answer", "empty-prompt", "ragged-row", "refusal"]).prepare()
    assert len(data) == 76 and "4 rows of customer-mails left out" in capsys.readouterr().err
    counts = {"empty-answer": 1, "empty-prompt": 1, "ragged-row": 1, "refusal": 1}
    assert Dataset.open("datasets/customer-mails").recipe["left_out"] == counts
    questions = {row["messages"][0]["content"] for row in data.rows}
    assert questions == {
        row["customer_mail"] for row in read_sample() if int(row["ticket"][2:]) not in {1053, 1075, 1092, 1098}
    }


def test_what_was_decided_is_part_of_what_made_the_rows(folder):
    etabli.Project.open(data="customer-mails", leave_out=["error"]).prepare()
    with pytest.raises(etabli.EtabliError, match=r"stale.*leave_out was \['error'\]"):
        etabli.Project.open(leave_out=["error", "refusal"]).dataset()
    assert etabli.Project.open(leave_out=[]).leave_out == []
    with pytest.raises(BadRecipe, match="unknown findings tired-answer"):
        etabli.Project.open(leave_out=["tired-answer"])


def test_rows_that_are_handed_over_are_left_out_too(folder):
    rows = etabli.home_commands(n=20, test=4)
    copied = [*rows, rows[-1]]
    data = etabli.Project.open(leave_out=["duplicate-row"]).prepare(copied)
    assert len(data) == len(rows) and data.recipe["left_out"] == {"duplicate-row": 1}


# --- the notebooks --------------------------------------------------------------------------------------------------


def run_code(name, until, parameters):
    """Run the code cells of a notebook here, its parameters and those up to the first that has ``until`` in it."""
    book = notebooks.with_parameters(notebooks.folder() / f"{name}.ipynb", parameters)
    names = {"etabli": etabli}
    for cell in book.cells[2:]:
        if cell.cell_type == "code":
            exec(cell.source, names)
            if until in cell.source:
                return names
    raise AssertionError(f"{name} has no cell with {until}")


def test_training_does_not_begin_on_a_file_that_is_not_there(folder):
    etabli.Project.open().prepare(etabli.home_commands(n=20, test=4))
    with pytest.raises(BadData, match=r"absent\.csv"):
        run_code("02_finetune", "project.dataset()", {"DATA": "absent.csv"})


def test_the_sample_task_has_little_to_find_and_so_the_mails_are_shown(folder):
    names = run_code("01_data", "messy =", {"ROWS": 20, "TEST": 4})
    assert names["report"].code == 0 and names["messy"].rows == 80
    names = run_code("01_data", "messy =", {"DATA": "customer-mails"})
    assert names["report"].rows == 80 and names["messy"] is None


def write_jsonl(path):
    """The mails under other column names: nulls for what is missing, and a line that is no JSON."""
    rows = [
        {"id": row["ticket"], "text_in": row["customer_mail"], "text_out": row["our_reply"] or None, "tongue": lang}
        for row in read_sample()
        if (lang := row["language"]) and None not in row
    ]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join([*lines[:20], lines[20][:-9], *lines[21:]]) + "\n", encoding="utf-8")


def output_text(cell):
    """All text that the outputs of a cell hold, without figures."""
    parts = []
    for output in cell.get("outputs", []):
        data = {kind: text for kind, text in output.get("data", {}).items() if "plotly" not in kind}
        is_figure = len(data) < len(output.get("data", {}))
        parts += [output.get("text", ""), *(text for text in data.values() if isinstance(text, str) and not is_figure)]
    return visible("\n".join(parts))


def visible(page):
    """The text that a reader of some HTML sees."""
    return re.sub(r"<[^<>]+>", " ", re.sub(r"<(style|script)\b.*?</\1>", "", page, flags=re.DOTALL))


COLUMNS = {"prompt": "text_in", "completion": "text_out", "lang": "tongue"}
OWN_FILES = {
    "csv": {"DATA": "mails.csv", "COLUMNS": CUSTOMER_MAIL_COLUMNS},
    "jsonl": {"DATA": "mails.jsonl", "COLUMNS": COLUMNS, "NAME": "post"},
}
OF_THE_SAMPLE_TASK = re.compile(r"\b((?<!chat )templates?|intents?|JSON|lamps?)\b")  # none of these mails has any
# Findings, tokens of the chat template, and the key ``template`` of project and recipe.
NAMED_SO = ("project.check(rows)", "project.model_dump()", "desk.table()", ".role", "recipe.keys()")


@pytest.mark.slow
@pytest.mark.parametrize("kind", OWN_FILES)
def test_own_data_go_through_all_notebooks_by_parameters_alone(kind, tiny, folder):
    (folder / "mails.csv").write_bytes(customer_mails().read_bytes())
    write_jsonl(folder / "mails.jsonl")
    parameters = {**OWN_FILES[kind], "MODEL": tiny, "STEPS": 2, "LEAVE_OUT": ["error"], "FORMS": ["merged"]}
    notebooks.check_parameters(parameters)
    words_in = {}
    for name in notebooks.TOUR[kind == "jsonl" :]:  # the first asks about the machine alone
        book = notebooks.with_parameters(notebooks.folder() / f"{name}.ipynb", parameters)
        notebooks.execute(book, folder)
        for cell in book.cells:
            is_own = cell.cell_type == "code" and not any(part in cell.source for part in NAMED_SO)
            text = output_text(cell) if is_own else "" if cell.cell_type == "code" else cell.source
            words_in[f"{name}: {cell.source}"] = {*OF_THE_SAMPLE_TASK.findall(text)}
    run = etabli.Run.attach("runs/first")
    data = Dataset.open(f"datasets/{OWN_FILES[kind].get('NAME', 'mails')}")
    assert run.state == "completed" and run.frozen["data_hash"] == data.hash
    assert sum(data.recipe["left_out"].values()) == 4 and {row.get("lang") for row in data.rows} >= {"en", "fr"}
    results = json.loads((folder / "results.json").read_text())
    assert len(results["rows"]) == len(data.part("test")) > 10 and results["verdict"]
    voting = open_session(run, ("lookup", "tuned"), author="ann")
    assert voting.total > 0 and len(voting.comparison.items) + voting.comparison.n_copies == len(results["rows"])
    words_in["report"] = {*OF_THE_SAMPLE_TASK.findall(visible(report.page(results, run, 1.0)))}
    assert not {place: words for place, words in words_in.items() if words}


@pytest.fixture
def base_model(tiny, tmp_path):
    """The tiny model without a chat template, as base models are."""
    shutil.copytree(tiny, tmp_path / "base")
    (tmp_path / "base/chat_template.jinja").unlink()
    return str(tmp_path / "base")


def test_a_base_model_is_checked_with_the_project_s_template(base_model, folder):
    write_jsonl(folder / "mails.jsonl")
    project = etabli.Project.open(data="mails.jsonl", columns=COLUMNS, model=base_model)
    with pytest.raises(etabli.EtabliError, match="template"):
        project.check()
    project = etabli.Project.open(template="alpaca")
    assert project.check().rows and etabli.Project.open().template_text() == "alpaca"
    (folder / "mine.jinja").write_text("{{ messages }}")
    assert etabli.Project.open(template="mine.jinja").template_text() == "{{ messages }}"


@pytest.mark.slow
def test_a_base_model_goes_through_the_notebooks_with_a_template(base_model, folder):
    parameters = {"MODEL": base_model, "TEMPLATE": "alpaca", "STEPS": 2, "ROWS": 40, "TEST": 4, "FORMS": ["adapter"]}
    notebooks.check_parameters(parameters)
    for name in ("01_data", "02_finetune"):
        notebooks.execute(notebooks.with_parameters(notebooks.folder() / f"{name}.ipynb", parameters), folder)
    run = etabli.Run.attach("runs/first")
    assert run.state == "completed" and run.recipe.template == "alpaca"
    assert "### Response:" in (run.adapter / "chat_template.jinja").read_text()


def test_one_library_s_notice_of_an_optional_package_is_not_shown(caplog):
    logger = logging.getLogger("bitsandbytes.backends.cpu.ops")
    logger.warning("Failed to load CPU gemm_4bit_forward from kernels-community: %s", "no kernels")
    logger.warning("something else")
    assert [record.message for record in caplog.records] == ["something else"]
