"""What a row costs in tokens, by the chosen model's own tokenizer, and what training on all rows would take."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from etabli.core.contracts import Row
from etabli.core.errors import BadData
from etabli.data.notes import Note, escaped
from etabli.rendering.render import measure

# The rule of OpenAI's "Data preparation and analysis for chat model fine-tuning" notebook (openai-cookbook): three
# epochs, more for few rows, fewer for many.
EPOCHS, FEWEST, MOST, MOST_EPOCHS = 3, 100, 25_000, 25
RULE = (
    "3 epochs; as many as make 100 row passes if there are few rows (at most 25), as few as make 25,000 if there are "
    "many (openai-cookbook, Chat_finetuning_data_prep)"
)


@dataclass
class Cost:
    """Tokens of the rows seen so far."""

    sizes: Counter[int] = field(default_factory=Counter)  # tokens of a row -> rows
    kept: int = 0
    trained: int = 0
    truncated: int = 0
    lost: int = 0

    def add(self, other: "Cost") -> None:
        """Take in another count."""
        self.sizes.update(other.sizes)
        self.kept += other.kept
        self.trained += other.trained
        self.truncated += other.truncated
        self.lost += other.lost


def check(
    row: Row, tokenizer: Any, max_length: int, policy: str, cost: Cost, texts: list[str] | None = None
) -> list[Note]:
    """Count a row's tokens, and say what of it would be cut off."""
    try:
        size, trained, left = measure(row["messages"], tokenizer, policy, max_length, row.get("tools"), texts)
    except BadData as error:
        return [Note("not-renderable", "messages", why=escaped(str(error)))]
    cost.sizes[size] += 1
    cost.kept += min(size, max_length)
    cost.trained += left
    if size <= max_length:
        return []
    cost.truncated += 1
    cost.lost += size - max_length
    if trained and not left:
        why = f"The question alone has {max_length} tokens or more: nothing of the answer is left within max_length."
        return [Note("answer-cut-off", "messages", f"{size} tokens", why)]
    beyond = f"{size - max_length} are beyond max_length {max_length}, {trained - left} of them of the answer"
    why = f"{size} tokens: {beyond}."
    return [Note("truncated-row", "messages", f"{size} tokens", why)]


def epochs(rows: int) -> int:
    """How often to go through that many rows, where nobody said."""
    if rows * EPOCHS < FEWEST:
        return min(MOST_EPOCHS, max(EPOCHS, FEWEST // max(rows, 1)))
    return max(1, MOST // rows) if rows * EPOCHS > MOST else EPOCHS


def summary(cost: Cost, model: str, max_length: int, policy: str, speed: tuple[float, str] | None) -> dict[str, Any]:
    """The cost of the whole file. A step is a pack of ``max_length`` tokens, as in a run without ``batch_size``."""
    rows = cost.sizes.total()
    times = epochs(rows)
    told = {
        "model": model,
        "max_length": max_length,
        "policy": policy,
        "rows": rows,
        "tokens": sum(size * count for size, count in cost.sizes.items()),
        "tokens_per_row": {name: _at(cost.sizes, share) for name, share in _SHARES.items()},
        "truncated_rows": cost.truncated,
        "truncated_tokens": cost.lost,
        "trained_tokens": cost.trained,
        "epochs": times,
        "epochs_rule": RULE,
        "steps": -(-cost.kept // max_length) * times if rows else 0,
    }
    if speed:
        told |= {"seconds": round(cost.kept * times / speed[0]), "seconds_from": speed[1]}
    return told


_SHARES = {"min": 0.0, "median": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


def _at(sizes: Counter[int], share: float) -> int:
    """The size that this share of the rows does not exceed."""
    below, wanted = 0, share * (sizes.total() - 1)
    for size in sorted(sizes):
        below += sizes[size]
        if below > wanted:
            return size
    return 0
