"""Against whom people judge the tuned model unless they choose: the base at its best prompt, where that can be had."""

from etabli.core.errors import EtabliError
from etabli.evaluation.systems import BASE, PROMPTED
from etabli.evaluation.test_set import build_prompt_set
from etabli.runs.recipe_code import agree_to_read
from etabli.runs.run import Run


def default_rival(run: Run, trust_code: bool, next_command: str) -> tuple[str, str]:
    """Return ``prompted``, or ``base`` where the prompted base can't be asked, and a sentence that says why.

    The prompted base needs training rows as worked examples. To find them, the rules that the recipe names are run: so
    it is left out, too, where this user has not agreed to them.

    Args:
        next_command: what gives that agreement, for the sentence.
    """
    try:
        agree_to_read(run.recipe, run.folder, trust_code, next_command)
        has_examples = bool(build_prompt_set(run, [""]).train)
    except EtabliError as error:
        return BASE, f"The prompted base is left out: {error}"
    reason = "The prompted base is left out: the run has no training rows that are answered questions."
    return (PROMPTED, "") if has_examples else (BASE, reason)
