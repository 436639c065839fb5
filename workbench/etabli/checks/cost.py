"""Count the tokens of rows with a model's tokenizer, and estimate what training on all rows takes."""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etabli.core.contracts import Row, TrainingCost
from etabli.core.errors import BadData
from etabli.core.wording import choose_form, count_of
from etabli.data.notes import Note, escape_invisible

if TYPE_CHECKING:
    from etabli.rendering.render import Renderer

# The rule of OpenAI's "Data preparation and analysis for chat model fine-tuning" notebook (openai-cookbook): three
# epochs, more for few rows, fewer for many.
DEFAULT_EPOCHS, MAX_EPOCHS = 3, 25
MIN_ROW_PASSES, MAX_ROW_PASSES = 100, 25_000
RULE = (
    "3 epochs; as many as make 100 row passes if there are few rows (at most 25), as few as make 25,000 if there are "
    "many (openai-cookbook, Chat_finetuning_data_prep)"
)


@dataclass
class Cost:
    """Token counts of rows."""

    rows_by_size: Counter[int] = field(default_factory=Counter)  # tokens of a row -> rows
    used_tokens: int = 0  # within max_length
    trained_tokens: int = 0
    truncated_rows: int = 0
    truncated_tokens: int = 0

    def add(self, other: "Cost") -> None:
        """Add other counts."""
        self.rows_by_size.update(other.rows_by_size)
        self.used_tokens += other.used_tokens
        self.trained_tokens += other.trained_tokens
        self.truncated_rows += other.truncated_rows
        self.truncated_tokens += other.truncated_tokens


def check(
    row: Row,
    renderer: "Renderer",
    max_length: int,
    policy: str,
    cost: Cost,
    text: str | None = None,
) -> list[Note]:
    """Add a row's tokens to ``cost``, and return notes on what would be cut off or left out.

    Args:
        text: the row as rendered by ``Renderer.render_texts``, if that is done already.
    """
    try:
        size, trained_count, trained_within = renderer.count_tokens(
            row["messages"], policy, max_length, row.get("tools"), text
        )
    except BadData as error:
        return [Note("not-renderable", "messages", why=escape_invisible(str(error)))]
    notes = _left_out_notes(row, renderer)
    cost.rows_by_size[size] += 1
    cost.used_tokens += min(size, max_length)
    cost.trained_tokens += trained_within
    excess = size - max_length
    if excess <= 0:
        return notes
    cost.truncated_rows += 1
    cost.truncated_tokens += excess
    if trained_count and not trained_within:
        length = count_of(max_length, "token")
        why = f"The question alone has {length} or more: nothing of the answer is left within max_length."
        return [*notes, Note("answer-cut-off", "messages", count_of(size, "token"), why)]
    answer_tokens = trained_count - trained_within
    beyond = f"{excess} {choose_form(excess, 'is', 'are')} beyond max_length {max_length}"
    why = f"{count_of(size, 'token')}: {beyond}, {answer_tokens} of them of the answer."
    return [*notes, Note("truncated-row", "messages", count_of(size, "token"), why)]


def _left_out_notes(row: Row, renderer: "Renderer") -> list[Note]:
    """Return notes on the tools and the thoughts that the template leaves out of a row that can be rendered."""
    messages, tools = row["messages"], row.get("tools")
    if messages[0]["role"] == "text" or not (tools or any(message.get("reasoning") for message in messages)):
        return []
    layout = renderer.layout(messages, tools)
    notes = []
    if layout.unwritten_tools:
        notes.append(Note("tools-left-out", "tools", escape_invisible(", ".join(layout.unwritten_tools)[:80])))
    if layout.dropped_thoughts:
        excerpt = count_of(len(layout.dropped_thoughts), "thought")
        notes.append(Note("thoughts-left-out", f"messages[{layout.dropped_thoughts[0]}].reasoning", excerpt))
    return notes


def suggest_epochs(rows: int) -> int:
    """Return the number of epochs for that many rows, by ``RULE``."""
    if rows * DEFAULT_EPOCHS < MIN_ROW_PASSES:
        return min(MAX_EPOCHS, max(DEFAULT_EPOCHS, MIN_ROW_PASSES // max(rows, 1)))
    return max(1, MAX_ROW_PASSES // rows) if rows * DEFAULT_EPOCHS > MAX_ROW_PASSES else DEFAULT_EPOCHS


def summarise(cost: Cost, model: str, max_length: int, policy: str, speed: tuple[float, str] | None) -> TrainingCost:
    """Return the cost of the whole file.

    A step is a pack of ``max_length`` tokens, as in a run without ``batch_size``.

    Args:
        speed: tokens per second, and where that was measured.
    """
    rows = cost.rows_by_size.total()
    epochs = suggest_epochs(rows)
    summary: TrainingCost = {
        "model": model,
        "max_length": max_length,
        "policy": policy,
        "rows": rows,
        "tokens": sum(size * count for size, count in cost.rows_by_size.items()),
        "tokens_per_row": {name: _quantile(cost.rows_by_size, share) for name, share in _QUANTILES.items()},
        "truncated_rows": cost.truncated_rows,
        "truncated_tokens": cost.truncated_tokens,
        "trained_tokens": cost.trained_tokens,
        "epochs": epochs,
        "epochs_rule": RULE,
        "steps": -(-cost.used_tokens // max_length) * epochs if rows else 0,
    }
    if speed:
        summary["seconds"] = round(cost.used_tokens * epochs / speed[0])
        summary["seconds_from"] = speed[1]
    return summary


_QUANTILES = {"min": 0.0, "median": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


def _quantile(rows_by_size: Counter[int], share: float) -> int:
    """Return the size that this share of the rows does not exceed; 0 without rows."""
    position, row_count = share * (rows_by_size.total() - 1), 0
    for size in sorted(rows_by_size):
        row_count += rows_by_size[size]
        if row_count > position:
            return size
    return 0
