"""Name the test rows that a model's chat template refuses, and why, where an evaluation stops at one."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from etabli.core.contracts import Message
from etabli.core.errors import BadData
from etabli.rendering.render import Renderer
from etabli.rendering.template_engine import ChatTokenizer, Tools

_NESTED = '{"type": "function", "function": {"name": …, "parameters": …}}'


@dataclass(frozen=True)
class AskedRow:
    """What is rendered for a test row: its id, a conversation with tools, and whether it ends in a prompt."""

    id: str
    messages: list[Message]
    tools: Tools
    is_prompt: bool


@contextlib.contextmanager
def name_refused_rows(rows: Sequence[AskedRow], tokenizer: ChatTokenizer) -> Iterator[None]:
    """Raise a refusal of the chat template again, with the number of refused rows, the first one, and what to do.

    Raises:
        BadData: as said; a refusal that is no row's own is raised as it is.
    """
    try:
        yield
    except BadData as error:
        renderer = Renderer(tokenizer)
        refused = [(row, cause) for row in rows if (cause := _find_cause(renderer, row))]
        if not refused:
            raise
        count, total = len({row.id for row, _ in refused}), len({row.id for row in rows})
        row, cause = refused[0]
        raise BadData(
            f"{count} of {total} test rows can't be evaluated with this model, first {row.id}: {cause.rstrip('.')}. "
            f"{_advise(renderer, row)}"
        ) from error


def _find_cause(renderer: Renderer, row: AskedRow) -> str:
    """Why a row is refused; an empty text if it is not."""
    try:
        renderer.render(row.messages, "last", prompt=row.is_prompt, tools=row.tools)
    except BadData as error:
        return str(error)
    return ""


def _advise(renderer: Renderer, row: AskedRow) -> str:
    """What to do about a refused row; its tools are named where it is not refused without them."""
    leave_out = "leave these rows out (--only COLUMN=VALUE)"
    if not row.tools or _find_cause(renderer, AskedRow(row.id, row.messages, None, row.is_prompt)):
        return f"Change these rows for the model's template, or {leave_out}."
    is_flat = any(isinstance(tool, dict) and "function" not in tool for tool in row.tools)
    form = f" Most templates want a tool as {_NESTED}." if is_flat else ""
    return (
        f"Its tools are the cause: without them it is not refused.{form} Change the tools, take a model whose template "
        f"writes them, or {leave_out}."
    )
