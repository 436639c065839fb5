"""Base against tuned, prompted and lookup: every answer, every score, the verdict."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from etabli import storage
from etabli.contracts import ARMS, VERDICT, VERSION, Answered, Results, Row
from etabli.data.dataset import Dataset
from etabli.errors import BadData
from etabli.evaluation import arms, paired, scores
from etabli.evaluation.verdict import verdict
from etabli.models.loading import Loaded, load
from etabli.training.run import Run
from etabli.training.waiting import Line

RESULTS, PROGRESS = "results.json", "evaluating.json"
ALL = "all"


def evaluate(
    run: Run | str | Path,
    data: str | Path | None = None,
    limit: int | None = None,
    max_new_tokens: int = 64,
    loaded: Loaded | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Results:
    """Compare a run's adapter with its base and its rivals on the test rows.

    Args:
        run: a run or its folder.
        data: a Dataset with ``test`` rows; by default the run's own.
        limit: at most this many test rows a language.
        max_new_tokens: longest answer, for every arm.
        loaded: base and adapter, if they are in memory already.
        progress: called with (arm, done, total); by default a line on stderr.

    Returns:
        What ``results.json`` holds; it is also written into the run folder, with ``verdict.json``.

    Raises:
        BadData: no test rows, or no training rows for the rivals.
    """
    run = Run.attach(run)
    dataset = Dataset.open(data or run.recipe.data, run.folder)
    tests, train = _parts(dataset, limit)
    loaded = loaded or load(run.recipe.model, adapter=run.adapter)
    rows, line = [], Line()
    for lang in sorted({str(row.get("lang")) for row in tests}):
        mine = [row for row in tests if str(row.get("lang")) == lang]
        known = [row for row in train if str(row.get("lang")) == lang] or train
        found = arms.answers(loaded, mine, known, max_new_tokens, _saying(lang, run, line, progress))
        rows += [_answered(row, {arm: found[arm][at] for arm in ARMS}) for at, row in enumerate(mine)]
    line.close()
    results = summarise(rows, run.recipe.seed, loaded.name, dataset.hash)
    (run.folder / PROGRESS).unlink(missing_ok=True)
    storage.write_json(run.folder / RESULTS, results)
    storage.write_json(run.folder / VERDICT, results["verdict"])
    return results


def _parts(dataset: Dataset, limit: int | None) -> tuple[list[Row], list[Row]]:
    if any(row["messages"][0]["role"] == "text" for row in dataset.rows):
        raise BadData("Plain text has no questions to ask: name a data set of conversations with --data.")
    tests = [row for row in dataset.rows if row.get("split") == "test"]
    train = [row for row in dataset.rows if row.get("split") != "test"]
    if not tests or not train:
        raise BadData(
            f"There are {len(tests)} test rows and {len(train)} training rows; a comparison needs both. Mark rows with "
            "split 'test' (Dataset.with_test does), or name a data set that has them."
        )
    taken: dict[str, int] = {}
    kept = []
    for row in tests:
        lang = str(row.get("lang"))
        taken[lang] = taken.get(lang, 0) + 1
        if limit is None or taken[lang] <= limit:
            kept.append(row)
    return kept, train


def _saying(lang: str, run: Run, line: Line, progress: Callable | None) -> Callable[[str, int, int], None]:
    """Say how far it is: to the caller, or on a line; and in the run folder, for whoever else is looking."""

    def say(arm: str, done: int, total: int) -> None:
        named = f"{arm} ({lang})"
        storage.write_json(run.folder / PROGRESS, {"arm": named, "done": done, "total": total})
        if progress:
            progress(named, done, total)
        else:
            line.show(f"{named}: {done}/{total} answers", urgent=True)

    return say


def _answered(row: Row, answers: dict[str, str]) -> Answered:
    right = arms.truth(row)
    return {
        "id": row["id"],
        "lang": str(row.get("lang")),
        "template": row.get("template") or row["id"],
        "prompt": arms.asked(row),
        "truth": right,
        "answers": answers,
        "correct": {arm: scores.exact(answer, right) for arm, answer in answers.items()},
        "valid": {arm: scores.valid_json(answer) for arm, answer in answers.items()},
    }


def summarise(rows: list[Answered], seed: int, model: str, data_hash: str) -> Results:
    """Scores, differences and verdict from answered rows alone: the saved rows give the same again."""
    slices = sorted({row["lang"] for row in rows})
    wanted = [("exact", "correct")]
    if all(scores.valid_json(row["truth"]) for row in rows):
        wanted.append(("valid_json", "valid"))
    scored = [
        _score(name, field, part, [row for row in rows if part in (ALL, row["lang"])])
        for name, field in wanted
        for part in [*slices, *([ALL] if len(slices) > 1 else [])]
    ]
    return {
        "version": VERSION,
        "seed": seed,
        "model": model,
        "data_hash": data_hash,
        "scores": scored,
        "rows": rows,
        "verdict": verdict(scored),
    }


def _score(name: str, field: str, part: str, rows: list[Answered]) -> dict[str, Any]:
    clusters = [row["template"] for row in rows]
    hits = {arm: [row[field][arm] for row in rows] for arm in ARMS}
    return {
        "name": name,
        "slice": part,
        "n": len(rows),
        "clusters": len(set(clusters)),
        "arms": {arm: paired.share(hits[arm], clusters) for arm in ARMS},
        "differences": [paired.difference("tuned", arm, hits, clusters) for arm in ARMS if arm != "tuned"],
    }
