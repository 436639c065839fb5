"""A valid small home of a stranger: a run with everything in its folder, data in every format, recipes, a model."""

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from etabli.core import storage
from etabli.core.contracts import RESULTS, Results
from etabli.evaluation import rescore
from strangers.watch import FOLDERS, SECRET, listed

EVIL = """import os, pathlib, etabli
pathlib.Path({mark!r}).touch()
def evil(answer, truth=None):
    return True
def on_step(event):
    return "evil"
@etabli.own_filter
def keep_all(row):
    return True
def encode(texts):
    import numpy
    return numpy.ones((len(texts), 4))
def build(*args, **kwargs):
    return {{}}
"""


def make(folder: Path, tiny: str, rows: list[dict[str, Any]]) -> None:
    """Fill ``folder`` with a home; trains three steps, evaluates, votes. Run where no other run owns the device."""
    from etabli.data.dataset import Dataset

    folder.mkdir(parents=True)
    shutil.copytree(tiny, folder / "model", copy_function=shutil.copy2)
    (folder / "model" / "README.md").write_text(
        "---\nlicense: apache-2.0\nlanguage:\n- en\ndatasets:\n- some/data\ncode: https://example.org/x\n---\n# tiny\n"
    )
    Dataset(rows).save(folder / "data")
    _data_files(folder, rows)
    with contextlib.chdir(folder):
        _run(tiny)
    shutil.copytree(folder / "run", folder / "run2")


def _data_files(folder: Path, rows: list[dict[str, Any]]) -> None:
    about = {"lang": "en", "source": "mine", "licence": "cc0-1.0", "generator": "none", "subject": "lamps"}
    chat = [{"id": f"r{number}", "messages": row["messages"], **about} for number, row in enumerate(rows[:12])]
    pairs = [(row["messages"][-2]["content"], row["messages"][-1]["content"]) for row in rows[:6]]
    _lines(folder / "rows.jsonl", chat)
    (folder / "alpaca.json").write_text(json.dumps([{"instruction": a, "input": "", "output": b} for a, b in pairs]))
    cells = [["prompt", "completion"], *map(list, pairs)]
    (folder / "rows.csv").write_text(
        "\n".join(",".join(f'"{c.replace(chr(34), chr(34) * 2)}"' for c in r) for r in cells)
    )
    (folder / "rows.txt").write_text("\n\n".join(f"{a}\n{b}" for a, b in pairs))
    (folder / "rows.md").write_text("# Notes\n\n" + "\n\n".join(f"## {a}\n\n{b}" for a, b in pairs))
    _lines(
        folder / "answers.jsonl",
        [{"id": str(n), "prompt": a, "answers": {"base": b, "tuned": b + "."}} for n, (a, b) in enumerate(pairs)],
    )
    entry = {"file_name": "alpaca.json", "columns": {"prompt": "instruction", "query": "input", "response": "output"}}
    (folder / "dataset_info.json").write_text(json.dumps({"mine": entry}))
    (folder / "axolotl.yaml").write_text("datasets:\n- path: alpaca.json\n  type: alpaca\n")
    (folder / "curation.yaml").write_text(
        "data: rows.jsonl\nfilters:\n- {filter: exact}\n- {filter: near}\n- {filter: quality}\n"
        "encoder: wordllama\ndecisions: decisions.jsonl\n"
    )
    (folder / "evil.py").write_text("# each job has one of its own\n")


def _run(tiny: str) -> None:
    from etabli.curation.session import curate
    from etabli.evaluation.evaluate import evaluate
    from etabli.memory import of_run
    from etabli.models.loading import load
    from etabli.review import token_diff
    from etabli.review.probe_history import Pins, read_probe_history
    from etabli.review.session import open_session
    from etabli.runs.recipe import Recipe
    from etabli.runs.run import Run

    recipe = Recipe(
        model=tiny,
        data="data",
        max_steps=6,
        checkpoint_every=4,
        eval_every=3,
        sample_every=2,
        threads=1,
        learning_rate=0.1,
        warmup_steps=1,
        lora={"rank": 4},
        probes=("Switch on the lamp", "Say hello"),
        max_length=128,
    )
    run = Run.start(recipe, "run").wait(quiet=True)
    loaded = load(tiny, adapter=run.adapter, alongside=True)
    _answer(run.folder / RESULTS, evaluate(run, limit=2, max_new_tokens=8, loaded=loaded))
    token_diff.measure(run, limit=2, loaded=loaded)
    session = open_session(run, author="ann", votes="run/votes/ann.jsonl")
    for choice in ("left", "right", "tie"):
        if session.current_pair() is not None:
            session.vote(choice)
    Pins(run, "ann").set(read_probe_history(run)["strips"][0]["probe"], 2, "because")
    desk = curate("curation.yaml", author="ann")
    desk.decide("keep", desk.source_rows[1]["id"])
    asked = {"prompt": "hello", "answers": {"base": {"text": "a", "tokens": 1, "tokens_per_s": 1.0, "first_s": 0.1}}}
    about = {"version": 1, "id": "a1", "t": 1.0, "by": "ann", "system": "", "max_new_tokens": 8}
    _lines(run.folder / "chat.jsonl", [about | asked])
    of_run(run)  # its trace is kept in the cache


def _answer(path: Path, results: Results) -> None:
    """A random model answers nothing: other answers, scored anew."""
    for number, row in enumerate(results["rows"]):
        for arm in row["answers"]:
            row["answers"][arm] = row["raw"][arm] = f"{arm} answers {number}" if number else row["truth"]
    storage.write_json(path, rescore.rescore_results(results)[0])


def _lines(path: Path, values: list[Any]) -> None:
    path.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values), encoding="utf-8")


def job_folder(home: Path, cache: Path, folder: Path) -> Path:
    """A job's own copy of everything; large files are hard links of one copy."""
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    shutil.copytree(home, folder / "home", copy_function=_copied, dirs_exist_ok=True)
    shutil.copytree(cache, folder / "cache", symlinks=True, dirs_exist_ok=True)
    (folder / "pristine").symlink_to(home)
    (folder / "home" / "evil.py").unlink()
    (folder / "home" / "evil.py").write_text(EVIL.format(mark=str(folder / "marks" / "evil")))
    _fill_outside(folder / "outside")
    settled(folder)
    return folder


def prints(folder: Path) -> dict[str, str]:
    """The sha256 of every file of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): storage.sha256(path) for path in files}


def settled(folder: Path) -> None:
    """Write down what lies outside, now that the folder is as hostile as it is to be."""
    (folder / "began").write_text(json.dumps(listed(folder / "outside")))


def _copied(source: str, place: str) -> None:
    if Path(source).stat().st_size > 2**20:
        os.link(source, place)
    else:
        shutil.copyfile(source, place)


def _fill_outside(outside: Path) -> None:
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"{SECRET} {n}"},
                {"role": "assistant", "content": f"{SECRET} ok"},
            ],
            "prompt": SECRET,
            "answers": {"base": SECRET, "tuned": f"{SECRET} x"},
            "kind": "warning",
            "what": SECRET,
            "t": 1.0,
            "split": "test" if n % 2 else "train",
            "lang": "en",
            "id": f"o{n}",
        }
        for n in range(8)
    ]
    _lines(outside / "rows.jsonl", rows)
    (outside / "secret.txt").write_text(f"{SECRET}\n" * 3)
    (outside / "secret.json").write_text(json.dumps({"type": "object", "title": SECRET, "version": 1}))
    (outside / "dataset_info.json").write_text(json.dumps({"private": {"file_name": "rows.jsonl", "note": SECRET}}))
    (outside / "evil.py").write_text(f"# {SECRET}\n")
    (outside / "bashrc").write_text(f"# {SECRET}\n")


def model_cache(embedded: Path, folder: Path) -> Path:
    """A cache with the embedded model linked into it."""
    (folder / "models").mkdir(parents=True)
    for place in embedded.parent.glob(f"{embedded.name}*"):
        (folder / "models" / place.name).symlink_to(place)
    return folder
