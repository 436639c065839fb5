"""``etabli evaluate`` and ``etabli compare``."""

import functools
from collections.abc import Callable
from typing import Any

import click

from etabli.app.cli.output import reporting
from etabli.app.cli.outside import allow_outside
from etabli.app.cli.trusting import trust_code as trusting
from etabli.core.contracts import ARMS
from etabli.core.errors import BadInput

OPTIONS = [
    click.option("--data", help="An evaluation set: its rows marked test, or all. By default the run's own."),
    click.option("--limit", type=click.IntRange(1), help="At most this many test rows a language."),
    click.option("--score", "scores", multiple=True, help="exact, number, regex:PATTERN, json_schema:FILE, choice, "
                 "ifeval, rouge_l, chrf, loss, mine.py …; the first decides the verdict. May be repeated."),
    click.option("--by", multiple=True, help="Slice by lang, length, source or any column. May be repeated."),
    click.option("--only", help="COLUMN=VALUE: these test rows alone."),
    click.option("--cluster", help="The column whose values stand or fall together."),
    click.option("--max-new-tokens", type=click.IntRange(1), help="Longest answer; by default told by the truths."),
    trusting,
]  # fmt: skip


def _options(command: Callable) -> Callable:
    return functools.reduce(lambda made, option: option(made), reversed(OPTIONS), command)


def _given(scores: tuple[str, ...], by: tuple[str, ...], **rest: Any) -> dict[str, Any]:
    return {"scores": list(scores) or None, "by": by or ("lang",), **rest}


def _human(results: dict) -> str:
    from etabli.evaluation import table

    told = results.get("again")
    if told is None:
        return table.format_results(results)
    kept = "".join(f"\n{name} keeps its values: {why}." for name, why in told["kept"].items())
    came = "comes out of the saved rows, to the last bit" if told["same"] else "DOES NOT COME OUT of the saved rows"
    again = f" Scored again from the saved answers: {', '.join(told['rescored'])}." if told["rescored"] else ""
    return f"{table.format_results(results)}\n\nWhat was saved {came}.{again}{kept}"


def _code(results: dict) -> int:
    """1 if what was saved does not come out again, or if no row could be scored."""
    unsaid = results["verdict"] and all(one["rival"] is None for one in results["verdict"].values())
    return 1 if unsaid or not results.get("again", {}).get("same", True) else 0


@click.command()
@click.argument("folder")
@_options
@click.option("--arm", "arms", multiple=True, help=f"Who answers: {', '.join(ARMS)}, step-000040 … May be repeated.")
@click.option("--shots", type=click.IntRange(0), default=5, show_default=True, help="Worked examples for prompted.")
@click.option("--instructions", help="What prompted is told above its worked examples.")
@click.option("--task", help="Instead: a task of lm-eval, its YAML file with local data. Needs etabli[harness].")
@click.option("--from-log", is_flag=True, help="No model: make scores, those of --score too, anew from results.json.")
@click.option("--html", "page", help="Write the verdict card to this file.")
@allow_outside
@reporting(_human, _code)
def evaluate(
    folder: str, from_log: bool, task: str | None, page: str | None, arms: tuple, shots: int,
    instructions: str | None, **options: Any,
) -> dict:  # fmt: skip
    """Compare a run's adapter with its base, the prompted base and lookup."""
    from etabli.evaluation import card, lm_eval
    from etabli.evaluation import evaluate as bench

    if from_log:
        _refuse_others("--from-log", ("scores", "from_log", "page"))
        results = _from_log(folder, options["scores"])
    elif task:
        _refuse_others("--task", ("task", "limit", "page", "trust_code"))
        results = lm_eval.evaluate_task(folder, task, options["limit"], trust_code=options["trust_code"])
    else:
        asking = {"arms": arms or ARMS, "shots": shots, "instructions": instructions}
        results = bench.evaluate(folder, **_given(**options), **asking)
    if page:
        card.write_page(results, page)
    return results


def _refuse_others(what: str, allowed: tuple[str, ...]) -> None:
    """An option that does nothing is a mistake that nobody would see."""
    context = click.get_current_context()
    for option in context.command.params:
        given = context.get_parameter_source(option.name) is click.core.ParameterSource.COMMANDLINE
        if given and option.name not in ("folder", "as_json", *allowed):
            raise BadInput(f"{option.opts[0]} has no effect with {what}: leave it out.")


def _from_log(folder: str, names: tuple[str, ...]) -> dict:
    """Saved results scored again, and by more scores; of files, those that were named on this command line alone."""
    from etabli.evaluation import rescore, scores

    saved, named = rescore.read_results(folder), scores.load_scores(names)
    known = {metric["name"] for metric in saved["metrics"] if rescore.names_file(metric["spec"])}
    results, told = rescore.rescore_results(saved, [score for score in named if score.name in known])
    more = [score for score in named if score.name not in known]
    return {**(rescore.add_scores(results, more) if more else results), "again": told}


def _compared(comparison: dict) -> str:
    from etabli.evaluation import table

    differ = [f"  {key}: {left} → {right}" for key, (left, right) in comparison["recipes"].items()]
    head = "What differs in the recipes:\n" + "\n".join(differ) if differ else "The recipes are the same."
    return f"{head}\n\n{table.format_results(comparison)}"


@click.command()
@click.argument("a")
@click.argument("b")
@_options
@click.option("--html", "page", help="Write the verdict card to this file.")
@allow_outside
@reporting(_compared)
def compare(a: str, b: str, page: str | None, **options: Any) -> dict:
    """Compare run B with run A on the same rows; begins with what differs in their recipes."""
    from etabli.evaluation import card
    from etabli.evaluation.compare import compare as compared

    results = compared(a, b, **_given(**options))
    if page:
        card.write_page(results, page)
    return results
