"""Make rows by a recipe: what ``etabli synth`` does."""

import asyncio
from collections import Counter
from pathlib import Path

from etabli.core import storage
from etabli.core.contracts import Row, Synthesis
from etabli.core.errors import BadData
from etabli.core.progress import show_progress
from etabli.data.dataset import Dataset
from etabli.data.questions import question
from etabli.data.splits import is_for_training
from etabli.synthesis.asking import Asker
from etabli.synthesis.makers import MAKERS, NEW_ROWS, Job, Outcome
from etabli.synthesis.recipe import SynthRecipe
from etabli.synthesis.request_log import RequestLog
from etabli.synthesis.teachers import open_teacher
from etabli.synthesis.verify import Verify, make_verify

DATASET, RECEIPT, RECIPE = "dataset", "receipt.json", "recipe.json"
SIGNS_OF_A_TOKEN = 3  # at least, of most texts: so that a price beforehand is rather too high


def synth(
    recipe: SynthRecipe | str | Path, out: str | Path, dry_run: bool = False, verify: Verify | None = None
) -> Synthesis:
    """Make rows, and write them with their rejects into ``out``.

    ``out/dataset`` is a Dataset folder, ``out/requests.jsonl`` every reply that was paid for, ``out/receipt.json`` what
    is returned. The same call goes on where an earlier one ended: what was answered is not asked again.

    Args:
        recipe: a ``SynthRecipe``, or its file.
        out: the folder.
        dry_run: ask nobody, and say what the job costs at most.
        verify: a function of an answer and its seed row that returns True, False or why it is rejected.

    Raises:
        BadRecipe: all mistakes of the file; BadData: there are no seeds to train on.
        BadInput: there is no endpoint; MissingExtra: a library is not installed.
        EtabliError: the teacher can't answer at all; what it answered before is kept.
    """
    recipe = recipe if isinstance(recipe, SynthRecipe) else SynthRecipe.load(recipe)
    check = make_verify(recipe.verifier, verify)
    seeds = _open_seeds(recipe)
    if dry_run:
        return _price(recipe, seeds)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    storage.write_json(folder / RECIPE, recipe.model_dump(mode="json"))
    with open_teacher(recipe.teacher) as teacher:
        log = RequestLog(folder)
        asker = Asker(teacher, log, recipe.budget, recipe.prices, recipe.concurrency)
        outcomes, error = asyncio.run(_collect(Job(recipe, seeds, asker, check)))
    result = _finish(recipe, asker, outcomes, folder)
    if error is not None:
        raise error
    return result


def _open_seeds(recipe: SynthRecipe) -> list[Row]:
    """Return the seeds: rows that may be trained on, never those that are kept for a test."""
    seeds = [row for row in Dataset.open(recipe.seeds).rows if is_for_training(row) and question(row)]
    if not seeds:
        raise BadData(f"{recipe.seeds} holds no row with a question that is not kept for a test.")
    return seeds if recipe.maker == "self-instruct" else seeds[: recipe.count]


async def _collect(job: Job) -> tuple[list[Outcome], Exception | None]:
    """Return everything that was made, and the error that ended the job, if one did."""
    outcomes: list[Outcome] = []
    total = job.recipe.count or len(job.seeds)
    with show_progress(f"asking {job.asker.teacher.name}", total) as task:
        try:
            async for outcome in MAKERS[job.recipe.maker](job):
                outcomes.append(outcome)
                task.report((task.done or 0) + (outcome.reason is None), total)
        except Exception as error:
            return outcomes, error
        finally:
            await job.asker.teacher.close()
    return outcomes, None


def _finish(recipe: SynthRecipe, asker: Asker, outcomes: list[Outcome], folder: Path) -> Synthesis:
    """Write the Dataset and the receipt, in the order of the rows' ids, whatever came first."""
    in_order = sorted(outcomes, key=lambda outcome: outcome.row["id"])
    accepted_rows = [outcome.row for outcome in in_order if outcome.reason is None]
    rejected_rows: list[Row] = [
        {**outcome.row, "reasons": [outcome.reason]} for outcome in in_order if outcome.reason is not None
    ]
    result: Synthesis = {
        "accepted": len(accepted_rows),
        "rejected": dict(Counter(row["reasons"][0]["filter"] for row in rejected_rows)),
        "requests": asker.log.count,
        "asked_now": asker.asked,
        "prompt_tokens": asker.log.prompt_tokens,
        "answer_tokens": asker.log.answer_tokens,
        "cost": round(asker.cost(), 6),
        "currency": recipe.prices.currency,
        "prices_of": recipe.prices.date,
        "stopped": asker.stopped,
        "dry_run": False,
    }
    if accepted_rows:
        Dataset(accepted_rows, {"synth": recipe.model_dump(mode="json")}, rejected_rows).save(folder / DATASET)
    storage.write_json(folder / RECEIPT, result)
    return result


def _price(recipe: SynthRecipe, seeds: list[Row]) -> Synthesis:
    """Return what the job costs at most: each answer as long as may be, and of self-instruct no row rejected."""
    sizes = [sum(len(turn["content"]) for turn in question(seed)) for seed in seeds]
    if recipe.maker == "self-instruct":
        requests = -(-(recipe.count or len(seeds)) // NEW_ROWS)
        whole_sizes = [sum(len(turn["content"]) for turn in seed["messages"]) for seed in seeds]
        prompt_signs = requests * recipe.demonstrations * max(whole_sizes)
    else:
        times = recipe.samples if recipe.maker == "sample" else 1
        requests, prompt_signs = len(seeds) * times, sum(sizes) * times
    prompts, answers = -(-prompt_signs // SIGNS_OF_A_TOKEN), requests * recipe.teacher.max_tokens
    return {
        "accepted": 0,
        "rejected": {},
        "requests": requests,
        "asked_now": 0,
        "prompt_tokens": prompts,
        "answer_tokens": answers,
        "cost": round((prompts * recipe.prices.input + answers * recipe.prices.output) / 1e6, 6),
        "currency": recipe.prices.currency,
        "prices_of": recipe.prices.date,
        "stopped": "",
        "dry_run": True,
    }
