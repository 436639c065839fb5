"""Verifiers: what says whether an answer is accepted. Each returns why not; an empty text accepts."""

import json
import re
from collections.abc import Callable

from etabli.core.contracts import Row
from etabli.core.errors import BadRecipe, MissingExtra
from etabli.synthesis.recipe import Verifier

Verify = Callable[[str, Row], str | bool]
_FENCE = re.compile(r"\A```[a-z]*\n(.*)\n```\Z", re.DOTALL)


def make_verify(recipe: Verifier, own: Verify | None = None) -> Callable[[str, Row], str]:
    """Return a function of an answer and its seed row that returns why the answer is rejected; empty: it is accepted.

    Args:
        recipe: a JSON schema, a pattern, or neither.
        own: a function of the same arguments, which returns True, False or a reason.

    Raises:
        BadRecipe: the pattern or the schema is none.
    """
    checks: list[Verify] = []
    if recipe.json_schema is not None:
        checks.append(_schema_check(recipe.json_schema))
    if recipe.pattern is not None:
        checks.append(_pattern_check(recipe.pattern))
    if own is not None:
        checks.append(own)

    def verify(answer: str, row: Row) -> str:
        for check in checks:
            result = check(answer, row)
            if result is False:
                return f"{getattr(check, '__name__', 'verifier')} says no"
            if isinstance(result, str) and result:
                return result
        return ""

    return verify


def _schema_check(schema: dict[str, object]) -> Verify:
    try:
        import jsonschema
    except ImportError:
        raise MissingExtra("A JSON schema needs jsonschema: pip install 'etabli[synth]'") from None
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise BadRecipe([f"verifier.json_schema: {error.message}"]) from None
    validator = jsonschema.Draft202012Validator(schema)

    def check(answer: str, row: Row) -> str:
        try:
            value = json.loads(answer)
        except ValueError:
            return "JSON in a code fence" if _FENCE.match(answer.strip()) else "no JSON"
        error = next(iter(validator.iter_errors(value)), None)
        return f"JSON of another form: {error.message[:120]}" if error else ""

    return check


def _pattern_check(pattern: str) -> Verify:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise BadRecipe([f"verifier.pattern: {error}"]) from None

    def check(answer: str, row: Row) -> str:
        return "" if compiled.search(answer) else "the pattern is not found"

    return check
