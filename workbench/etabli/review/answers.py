"""The items of an arena: from the saved answers of an evaluation, from a file, or from prompts that are asked now."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from etabli.core import parsing, storage
from etabli.core.contracts import ArenaItem, Results
from etabli.core.errors import BadData, BadInput
from etabli.core.progress import show_progress
from etabli.evaluation import rescore, systems
from etabli.evaluation.test_set import build_prompt_set
from etabli.models.loading import LoadedModel, adapter_hash
from etabli.review.pairs import Comparison, Item
from etabli.review.rivals import default_rival
from etabli.runs.adapter_run import open_adapter
from etabli.runs.recipe_code import agree_to_read
from etabli.runs.run import Run

_USES_TRAINING_ROWS = {systems.PROMPTED, systems.LOOKUP}
_NEXT_COMMAND = "etabli.arena(..., trust_code=True)"


def comparison_from_results(results: Results, arms: Sequence[str] = ()) -> Comparison:
    """Return the saved answers of an evaluation; by default those of the judged system and of the prompted base.

    The base asked plainly is often known by its form at the first pair: it is the default where nobody prompted it.

    Raises:
        BadInput: a system did not answer, or there are fewer than two.
    """
    names = tuple(dict.fromkeys(arms)) or _default_pair(results)
    missing = [name for name in names if name not in results["arms"]]
    if missing or len(names) < 2:
        raise BadInput(
            f"An arena needs two systems that have answered, not {', '.join(missing or names)}. "
            f"Choose from {', '.join(results['arms'])}."
        )
    items = [
        Item(
            row["id"],
            row["prompt"],
            {name: row["answers"][name] for name in names},
            row["lang"] or "",
            {name: thought for name, thought in row.get("thoughts", {}).items() if name in names},
            tuple(name for name in row.get("cut", []) if name in names),
        )
        for row in results["rows"]
        if all(name in row["answers"] for name in names)
    ]
    different_items = _merge_equal(items)
    return _checked_comparison(names, different_items, len(items) - len(different_items))


def _default_pair(results: Results) -> tuple[str, ...]:
    baselines = (systems.PROMPTED, systems.BASE, *results["rivals"])
    names = (name for name in baselines if name in results["arms"] and name != results["subject"])
    return (*list(names)[:1], results["subject"])


def _merge_equal(items: list[Item]) -> list[Item]:
    """Return one item for all that look the same, each with an id of its own: ``ab~2`` for the second ``ab``."""
    first_items: dict[str, Item] = {}
    for item in items:
        first_items.setdefault(str([item.prompt, item.answers, item.thoughts]), item)
    counts = Counter[str]()
    different_items = []
    for item in first_items.values():
        counts[item.id] += 1
        different_items.append(item if counts[item.id] == 1 else replace(item, id=f"{item.id}~{counts[item.id]}"))
    return different_items


def read_answers(path: str | Path, arms: Sequence[str] = ()) -> Comparison:
    """Read a JSON list or JSON lines of ``{"prompt": ..., "answers": {arm: text}, "id"?: ..., "slice"?: ...}``.

    Raises:
        BadData: the file has another format, or two items have one id; the message gives the first bad item's number.
    """
    items = [_parse_item(entry, index, path) for index, entry in enumerate(_read_entries(Path(path)))]
    names = tuple(dict.fromkeys(arms)) or tuple(items[0].answers if items else ())
    for index, item in enumerate(items):
        if missing := [name for name in names if name not in item.answers]:
            raise BadData(
                f"{path}: item {index} has no answer of {', '.join(missing)}; it has {', '.join(item.answers)}."
            )
    return _checked_comparison(names, items)


def _read_entries(path: Path) -> list[object]:
    try:
        text = parsing.read_text(path, parsing.LARGEST_JSON).removeprefix("\ufeff")
    except (OSError, parsing.ParseError) as error:
        raise BadData(f"{path} can't be read as text: {error}.") from None
    try:
        content = parsing.parse_json(text)
    except parsing.ParseError:
        pass
    else:
        return content if isinstance(content, list) else [content]
    entries: list[object] = []
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: JSON text may contain U+2028
        if line.strip():
            try:
                entries.append(parsing.parse_json(line, f"{path}, line {number}"))
            except parsing.ParseError as error:
                raise BadData(str(error)) from None
    return entries


def _parse_item(entry: object, index: int, path: str | Path) -> Item:
    fields = entry if isinstance(entry, dict) else {}
    prompt, answers, name = fields.get("prompt"), fields.get("answers"), fields.get("id")
    has_answers = isinstance(answers, dict) and len(answers) > 1 and all(isinstance(v, str) for v in answers.values())
    if not has_answers or not isinstance(prompt, str) or not isinstance(answers, dict):
        raise BadData(f'{path}: item {index} must be {{"prompt": text, "answers": {{arm: text, arm: text}}}}.')
    thoughts = fields.get("thoughts")
    has_thoughts = isinstance(thoughts, dict) and all(isinstance(text, str) for text in thoughts.values())
    kept_thoughts = thoughts if has_thoughts else {}
    cut = fields.get("cut")
    cut_systems = tuple(name for name in cut if isinstance(name, str)) if isinstance(cut, list) else ()
    item_id = str(index if name is None else name)
    return Item(item_id, prompt, answers, str(fields.get("slice") or ""), kept_thoughts or {}, cut_systems)


def _checked_comparison(names: tuple[str, ...], items: list[Item], n_copies: int = 0) -> Comparison:
    duplicates = [name for name, count in Counter(item.id for item in items).items() if count > 1]
    if duplicates:
        raise BadData(
            f"{len(duplicates)} ids belong to several items, the first is {duplicates[0]!r}: make ids unique."
        )
    if not items or len(names) < 2:
        raise BadData("There is nothing to vote on: 0 prompts have the answers of two systems.")
    return Comparison(names, tuple(items), n_copies)


def ask_systems(
    run: Run,
    prompts: Sequence[str],
    arms: Sequence[str],
    loaded: LoadedModel | None = None,
    max_new_tokens: int = 64,
    alongside: bool = False,
    trust_code: bool = False,
) -> Comparison:
    """Ask the systems of a run these prompts now, and keep the answers in the run folder.

    The same question a second time reads these answers and loads no model.

    Raises:
        DeviceBusy: a run uses the device.
        BadInput: a system is unknown, or there are no prompts.
        UntrustedCode: ``prompted`` and ``lookup`` need rules that this user has not agreed to.
    """
    if not any(prompt.strip() for prompt in prompts):
        raise BadInput("There is nothing to ask: 0 prompts. Give at least one prompt.")
    names = list(dict.fromkeys(arms)) or [default_rival(run, trust_code, _NEXT_COMMAND)[0], systems.TUNED]
    request = json.dumps([list(prompts), names, max_new_tokens, adapter_hash(run.adapter)])
    file = run.folder / "arena" / f"{hashlib.sha256(request.encode()).hexdigest()[:12]}.json"
    if not file.is_file():
        if _USES_TRAINING_ROWS & {*names}:
            agree_to_read(run.recipe, run.folder, trust_code, _NEXT_COMMAND)
        model = loaded or run.load(alongside=alongside)
        storage.write_json(file, _generate_items(run, prompts, names, model, max_new_tokens))
    return read_answers(file, names)


def _generate_items(
    run: Run, prompts: Sequence[str], names: list[str], model: LoadedModel, max_new_tokens: int
) -> list[ArenaItem]:
    rows = build_prompt_set(run, prompts, with_training=bool(_USES_TRAINING_ROWS & {*names}))
    answering = systems.build_systems(names, rows, run, model, systems.AnswerSettings(max_new_tokens))
    if missing := {*names} - {system.name for system in answering}:
        raise BadInput(f"{', '.join(sorted(missing))} can't be asked: the run has no training rows that are questions.")
    for system in answering:
        with show_progress(f"asking {system.name}"):
            systems.generate_answers(system, rows, model, max_new_tokens, lambda *_: None)
    items: list[ArenaItem] = []
    for index, prompt in enumerate(prompts):
        answers = {system.name: system.answers[index] for system in answering}
        item: ArenaItem = {
            "id": str(index),
            "prompt": prompt,
            "answers": {name: answer.text for name, answer in answers.items()},
        }
        if thoughts := {name: answer.thought for name, answer in answers.items() if answer.thought}:
            item["thoughts"] = thoughts
        if cut := [system.name for system in answering if system.cut and system.cut[index]]:
            item["cut"] = cut
        items.append(item)
    return items


def build_comparison(
    source: Run | str | Path | Results,
    arms: Sequence[str] = (),
    prompts: Sequence[str] | None = None,
    loaded: LoadedModel | None = None,
    alongside: bool = False,
    trust_code: bool = False,
) -> Comparison:
    """Return the items of a run's evaluation, of ``results.json``, of a file of answers, or of prompts asked now.

    Raises:
        BadInput: there is no such file, or the run was not evaluated.
    """
    if isinstance(source, dict):
        if prompts is not None:
            raise BadInput("Results hold the answers to their own prompts: name the run to ask it new prompts.")
        return comparison_from_results(source, arms)
    if prompts is not None:
        return ask_systems(open_adapter(source), prompts, arms, loaded, alongside=alongside, trust_code=trust_code)
    if isinstance(source, Run) or Path(source).is_dir():
        return comparison_from_results(rescore.read_results(source), arms)
    if not Path(source).exists():
        raise BadInput(f"There is no run, results.json or file of answers at {source}. Check the path.")
    entries = _read_entries(Path(source))
    if len(entries) == 1 and isinstance(entries[0], dict) and "scores" in entries[0]:
        return comparison_from_results(rescore.read_results(source), arms)
    return read_answers(source, arms)
