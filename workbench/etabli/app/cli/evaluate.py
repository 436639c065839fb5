"""``etabli evaluate`` and ``etabli compare``."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from etabli.app.cli.base_option import base_option, open_place
from etabli.app.cli.data import column_option, parse_columns
from etabli.app.cli.output import reporting
from etabli.app.cli.outside import allow_outside
from etabli.app.cli.trusting import trust_code as trusting
from etabli.core.contracts import ARMS, RECIPE, Comparison, RescoredResults, Results
from etabli.core.errors import BadInput
from etabli.core.os_errors import require_writable
from etabli.core.progress import show_progress

SCORES_HELP = (
    "exact, number, regex:PATTERN, json_schema:FILE, choice, ifeval, rouge_l, chrf, loss, mine.py … "
    "The first decides the verdict. Repeat it for more."
)
OPTIONS = [
    click.option("--data", help="Evaluation set: its rows marked test, else all its rows. Default: the run's own."),
    column_option,
    click.option("--limit", type=click.IntRange(1), help="Use at most this many test rows for each language."),
    click.option("--score", "scores", multiple=True, help=SCORES_HELP),
    click.option(
        "--by", "slice_by", multiple=True, help="Slice by lang, length, source or any column. Repeat for more."
    ),
    click.option("--only", help="COLUMN=VALUE: use only the test rows with this value."),
    click.option("--cluster", help="Column whose rows with one value form a cluster (for the intervals)."),
    click.option(
        "--max-new-tokens", type=click.IntRange(1), help="Longest answer. Default: from the test rows' answers."
    ),
    trusting,
]
Command = TypeVar("Command", bound=Callable[..., object])


def _add_options(command: Command) -> Command:
    return functools.reduce(lambda function, option: option(function), reversed(OPTIONS), command)


def _keywords(
    scores: tuple[str, ...], slice_by: tuple[str, ...], columns: tuple[str, ...], **keywords: object
) -> dict[str, Any]:
    names = parse_columns(columns) or None
    return {"scores": list(scores) or None, "by": slice_by or ("lang",), "columns": names, **keywords}


def _format_results(results: Results) -> str:
    from etabli.evaluation import table

    if "again" not in results:
        return table.format_results(results)
    rescoring = cast(RescoredResults, results)["again"]
    kept_notes = "".join(f"\n{name} keeps its values: {why}." for name, why in rescoring["kept"].items())
    outcome = "The saved scores follow from the saved rows, to the last bit."
    if not rescoring["same"]:
        outcome = "The saved scores DO NOT FOLLOW from the saved rows."
    names = (
        f" Scored again from the saved answers: {', '.join(rescoring['rescored'])}." if rescoring["rescored"] else ""
    )
    return f"{table.format_results(results)}\n\n{outcome}{names}{kept_notes}"


def _exit_code(results: Results) -> int:
    """Return 1 if the saved scores do not follow from the saved rows, or if no row could be scored."""
    verdicts = results["verdict"].values()
    if verdicts and all(verdict["rival"] is None for verdict in verdicts):
        return 1
    return 0 if "again" not in results or cast(RescoredResults, results)["again"]["same"] else 1


@click.command()
@click.argument("folder")
@base_option
@_add_options
@click.option("--arm", "systems", multiple=True, help=f"Who answers: {', '.join(ARMS)}, step-000040 … Repeat for more.")
@click.option("--shots", type=click.IntRange(0), default=5, show_default=True, help="Worked examples for prompted.")
@click.option("--instructions", help="Instructions for prompted, above its worked examples.")
@click.option("--task", help="Run an lm-eval task instead: its YAML file, with local data. Needs etabli[harness].")
@click.option("--from-log", is_flag=True, help="Load no model: compute the scores again from results.json.")
@click.option("--html", "page", help="Write the verdict card to this HTML file.")
@allow_outside
@reporting(_format_results, _exit_code)
def evaluate(
    folder: str,
    base: str | None,
    from_log: bool,
    task: str | None,
    page: str | None,
    systems: tuple[str, ...],
    shots: int,
    instructions: str | None,
    **options: Any,
) -> Results:
    """Compare the adapter of the run FOLDER with its base, the prompted base and lookup.

    FOLDER may also be the folder of a PEFT adapter from elsewhere; name the test rows with --data then.
    """
    with show_progress("loading libraries"):
        from etabli.evaluation import card, lm_eval
        from etabli.evaluation import evaluate as bench

    if page:
        require_writable(Path(page))
    results: Results
    if from_log:
        _refuse_others("--from-log", ("scores", "from_log", "page"))
        results = _rescore(folder, options["scores"])
    elif task:
        _refuse_others("--task", ("task", "limit", "page", "trust_code", "base"))
        place, agreed = open_place(folder, base), options["trust_code"]
        results = lm_eval.evaluate_task(place, task, options["limit"], trust_code=agreed)
    else:
        prompting: dict[str, Any] = {"arms": systems or ARMS, "shots": shots, "instructions": instructions}
        results = bench.evaluate(open_place(folder, base), **_keywords(**options), **prompting)
    if page:
        card.write_page(results, page)
    return results


def _refuse_others(mode: str, allowed_names: tuple[str, ...]) -> None:
    """Raise BadInput for an option that has no effect: nobody would see this mistake."""
    context = click.get_current_context()
    for option in context.command.params:
        name = str(option.name)
        is_typed = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if is_typed and name not in ("folder", "as_json", *allowed_names):
            raise BadInput(f"{option.opts[0]} has no effect with {mode}: leave it out.")


def _rescore(folder: str, names: tuple[str, ...]) -> RescoredResults:
    """Return saved results scored again, with the scores of ``names`` added.

    A score that lives in a Python file is run only if this command line names the file.
    """
    with show_progress("loading libraries"):
        from etabli.evaluation import rescore, scores

    log, requests = rescore.read_results(folder), scores.load_scores(names)
    from_files = {metric["name"] for metric in log["metrics"] if rescore.names_file(metric["spec"])}
    results, rescoring = rescore.rescore_results(log, [score for score in requests if score.name in from_files])
    new_scores = [score for score in requests if score.name not in from_files]
    if new_scores:
        results = rescore.add_scores(results, cast("list[Any]", new_scores))
    return cast(RescoredResults, {**results, "again": rescoring})


def _format_comparison(comparison: Comparison) -> str:
    from etabli.evaluation import table

    changes = [f"  {key}: {first} → {second}" for key, (first, second) in comparison["recipes"].items()]
    head = "What differs in the recipes:\n" + "\n".join(changes) if changes else "The recipes are the same."
    return f"{head}\n\n{table.format_results(comparison)}"


@click.command()
@click.argument("a")
@click.argument("b")
@base_option
@_add_options
@click.option("--html", "page", help="Write the verdict card to this HTML file.")
@allow_outside
@reporting(_format_comparison)
def compare(a: str, b: str, base: str | None, page: str | None, **options: Any) -> Comparison:
    """Compare run B with run A on the same rows. The report begins with the differences of their recipes.

    Either may be the folder of a PEFT adapter from elsewhere; --base names the base of those that are no runs.
    """
    with show_progress("loading libraries"):
        from etabli.evaluation import card
        from etabli.evaluation.compare import compare as compare_runs

    if page:
        require_writable(Path(page))
    places = [place if (Path(place) / RECIPE).is_file() else open_place(place, base) for place in (a, b)]
    results = compare_runs(*places, **_keywords(**options))
    if page:
        card.write_page(results, page)
    return results
