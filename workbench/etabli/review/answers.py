"""Where an arena's items come from: saved answers of an evaluation, a file of answers, or prompts asked now."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etabli.core import parsing, storage
from etabli.core.contracts import ArenaItem, Results
from etabli.core.errors import BadData, BadInput
from etabli.evaluation import rescore
from etabli.evaluation import systems as answering
from etabli.evaluation.test_set import build_prompt_set
from etabli.models.loading import Loaded, adapter_hash, load
from etabli.review.pairs import Comparison, Item
from etabli.runs.recipe_code import agree_to_read
from etabli.runs.run import Run


def comparison_from_results(results: Results, arms: Sequence[str] = ()) -> Comparison:
    """The saved answers of an evaluation; by default of the judged arm and the base.

    Raises:
        BadInput: an arm that did not answer, or fewer than two.
    """
    wanted = tuple(dict.fromkeys(arms)) or _two(results)
    missing = [arm for arm in wanted if arm not in results["arms"]]
    if missing or len(wanted) < 2:
        there = ", ".join(results["arms"])
        raise BadInput(
            f"An arena takes two arms or more that have answered: {there}. Not: {', '.join(missing or wanted)}."
        )
    items = [
        Item(row["id"], row["prompt"], {arm: row["answers"][arm] for arm in wanted}, row["lang"] or "")
        for row in results["rows"]
        if all(arm in row["answers"] for arm in wanted)
    ]
    return _checked(wanted, items)


def _two(results: Results) -> tuple[str, ...]:
    rival = next((arm for arm in ("base", *results["rivals"]) if arm in results["arms"]), "")
    return tuple(arm for arm in (rival, results["subject"]) if arm)


def read_answers(path: str | Path, arms: Sequence[str] = ()) -> Comparison:
    """Items from a JSON list or JSON lines of ``{"prompt": ..., "answers": {arm: text}, "id"?: ..., "slice"?: ...}``.

    Raises:
        BadData: not that, or two items of one id; with the number of the first that is not.
    """
    held = _entries(Path(path))
    items = [_item(entry, at, path) for at, entry in enumerate(held)]
    wanted = tuple(dict.fromkeys(arms)) or tuple(items[0].answers if items else ())
    for at, item in enumerate(items):
        if missing := [arm for arm in wanted if arm not in item.answers]:
            raise BadData(f"{path}: item {at} has no answer of {', '.join(missing)}; it has {', '.join(item.answers)}.")
    return _checked(wanted, items)


def _entries(path: Path) -> list[Any]:
    try:
        text = parsing.read_text(path, parsing.LARGEST_JSON).removeprefix("\ufeff")
    except (OSError, parsing.Unparsed) as error:
        raise BadData(f"{path} can't be read as text: {error}.") from None
    try:
        held = parsing.parse_json(text)
    except parsing.Unparsed:
        held = _lines(text, path)
    return held if isinstance(held, list) else [held]


def _lines(text: str, path: Path) -> list[Any]:
    held = []
    for number, line in enumerate(text.split("\n"), 1):  # and not at U+2028, which JSON may hold
        if line.strip():
            try:
                held.append(parsing.parse_json(line, f"{path}, line {number}"))
            except parsing.Unparsed as error:
                raise BadData(str(error)) from None
    return held


def _item(entry: Any, at: int, path: str | Path) -> Item:
    answers = entry.get("answers") if isinstance(entry, dict) else None
    texts = isinstance(answers, dict) and all(isinstance(one, str) for one in answers.values())
    if not texts or not isinstance(entry.get("prompt"), str) or len(answers) < 2:
        raise BadData(f'{path}: item {at} must be {{"prompt": text, "answers": {{arm: text, arm: text}}}}.')
    name = entry.get("id")
    return Item(str(at if name is None else name), entry["prompt"], answers, str(entry.get("slice") or ""))


def _checked(arms: tuple[str, ...], items: list[Item]) -> Comparison:
    twice = [one for one, count in Counter(item.id for item in items).items() if count > 1]
    if twice:
        raise BadData(f"{len(twice)} items share an id, the first {twice[0]!r}: give each its own.")
    if not items or len(arms) < 2:
        raise BadData("There is nothing to vote on: 0 prompts have answers of two arms.")
    return Comparison(arms, tuple(items))


_RIVALS = {answering.PROMPTED, answering.LOOKUP}  # who needs the training rows


def ask_systems(
    run: Run, prompts: Sequence[str], arms: Sequence[str], loaded: Loaded | None = None, most: int = 64,
    alongside: bool = False, trust_code: bool = False,
) -> Comparison:  # fmt: skip
    """Ask the arms of a run these prompts now, and keep what they answered in the run folder.

    Asked the same again, the answers are read from there and no model is loaded.

    Raises:
        DeviceBusy: a run owns the device; BadInput: an unknown arm, no prompts; UntrustedCode: ``prompted`` and
        ``lookup`` need rules that this user has not said yes to.
    """
    wanted = list(dict.fromkeys(arms)) or [answering.BASE, answering.TUNED]
    if not [prompt for prompt in prompts if prompt.strip()]:
        raise BadInput("There is nothing to ask: 0 prompts.")
    adapter = adapter_hash(run.adapter)
    key = hashlib.sha256(json.dumps([list(prompts), wanted, most, adapter]).encode()).hexdigest()[:12]
    place = run.folder / "arena" / f"{key}.json"
    if not place.is_file():
        if _RIVALS & {*wanted}:
            agree_to_read(run.recipe, run.folder, trust_code, "etabli.arena(..., trust_code=True)")
        loaded = loaded or load(run.recipe.model, adapter=run.adapter, dtype=run.dtype, alongside=alongside)
        storage.write_json(place, _answered(run, prompts, wanted, loaded, most))
    return read_answers(place, wanted)


def _answered(run: Run, prompts: Sequence[str], arms: list[str], loaded: Loaded, most: int) -> list[ArenaItem]:
    rows = build_prompt_set(run, prompts, with_training=bool(_RIVALS & {*arms}))
    made = answering.build_systems(arms, rows, run, loaded, answering.AnswerSettings(most))
    if missing := {*arms} - {arm.name for arm in made}:
        raise BadInput(f"{', '.join(sorted(missing))} can't be asked: the run has no training rows that are questions.")
    for arm in made:
        answering.generate_answers(arm, rows, loaded, most, lambda *_: None)
    return [
        {"id": str(at), "prompt": prompt, "answers": {arm.name: arm.answers[at] for arm in made}}
        for at, prompt in enumerate(prompts)
    ]


def build_comparison(
    of: Run | str | Path | Results, arms: Sequence[str] = (), prompts: Sequence[str] | None = None,
    loaded: Loaded | None = None, alongside: bool = False, trust_code: bool = False,
) -> Comparison:  # fmt: skip
    """Items of a run's evaluation, of ``results.json``, of a file of answers, or of prompts asked now.

    Raises:
        BadInput: nothing was evaluated there.
    """
    if isinstance(of, dict):
        if prompts is not None:
            raise BadInput("Results have answers to their own prompts: name the run to ask it others.")
        return comparison_from_results(of, arms)
    if prompts is not None:
        return ask_systems(Run.attach(of), prompts, arms, loaded, alongside=alongside, trust_code=trust_code)
    if isinstance(of, Run) or Path(of).is_dir():
        return comparison_from_results(rescore.read_results(of), arms)
    if not Path(of).exists():
        raise BadInput(f"There is no run, results.json or file of answers at {of}.")
    held = _entries(Path(of))
    return (
        comparison_from_results(rescore.read_results(of), arms)
        if len(held) == 1 and isinstance(held[0], dict) and "scores" in held[0]
        else read_answers(of, arms)
    )
