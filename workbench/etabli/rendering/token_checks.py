"""What has to be true of a row's tokens before anything is trained on them.

``end-of-turn``       every answer trained to its end is followed by a control token, which is trained too
``one-bos``           begin-of-text stands in front, where the tokenizer wants it, and again only where a template
                      begins a turn by it (ChatML of some models) or after end-of-text (Llama 2)
``user-not-trained``  nothing is trained that a user, a system text or a tool wrote (but under the policy ``all``)
``not-empty``         something is trained once the row is cut at ``max_length``
``template-ids``      the ids are the ones the model's own chat template gives; one that refuses a row fails it too
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from etabli.core.contracts import Row
from etabli.rendering import template_engine
from etabli.rendering.render import PLAIN, Rendered
from etabli.rendering.template_engine import Conversation

ENDED, BEGUN, LEARNT_ONLY, EMPTY, TEMPLATE = NAMES = (
    "end-of-turn", "one-bos", "user-not-trained", "not-empty", "template-ids",
)  # fmt: skip
LEARNT = ("assistant", PLAIN, "template")  # whose tokens may be trained
FIXES = {
    ENDED: "Use the instruct version of the model, or give its tokenizer a chat template that ends turns.",
    BEGUN: "Mend the model's chat template: begin-of-text belongs there once, in front.",
    LEARNT_ONLY: "Take train: true (or the spans) off that message, or choose the policy all on purpose.",
    EMPTY: "Raise max_length, give the row an answer, or leave such rows out: empty_rows: leave_out.",
    TEMPLATE: "Mend the row, or take what changes from call to call (a date, a time) out of the chat template.",
}


class Assertion(NamedTuple):
    """One of ``NAMES``; ``ok`` is None where it does not apply."""

    name: str
    ok: bool | None
    why: str


def of_row(row: Row, seen: Rendered, tokenizer: Any, policy: str, most: int, own: bool = True) -> list[Assertion]:
    """Every assertion about a row.

    Args:
        row: the row; seen: as it was rendered, not yet cut; tokenizer: the model's own.
        policy: what is trained; most: tokens a row may have.
        own: compare with the template's own ids too, which takes as long as rendering.
    """
    # Once a row: DeepSeek's 1,283 added tokens take longer to gather than the rest to look at.
    control = {*tokenizer.get_added_vocab().values(), tokenizer.eos_token_id}
    made = [
        _ended(row, seen, tokenizer, control), _begun(seen, tokenizer, control),
        _only_learnt(seen, policy), _something(seen, most),
    ]  # fmt: skip
    return [*made, _same_ids(row, seen, tokenizer)] if own else made


def _ended(row: Row, seen: Rendered, tokenizer: Any, control: set[int]) -> Assertion:
    """A turn is trained to its end if the last token of its content is. Judged before the row is cut."""
    owned: dict[int | None, list[int]] = {}
    for at, whose in enumerate(seen.message):
        owned.setdefault(whose, []).append(at)
    for number, turn in enumerate(row["messages"]):
        mine = owned.get(number, [])
        if turn["role"] not in ("assistant", PLAIN) or not _to_its_end(mine, seen, number, turn["content"]):
            continue
        last = mine[-1] if turn["role"] == "assistant" else len(seen) - 1
        ends = seen.ids[last] == tokenizer.eos_token_id or not _begins_a_turn(seen, last, control)
        if seen.ids[last] not in control or not seen.trained[last] or not ends:
            said = f"Turn {number} ends with {seen.text[last]!r}, no trained control token: it never learns to stop."
            return Assertion(ENDED, False, said)
    return Assertion(ENDED, True, "Every answer trained to its end is followed by a trained control token.")


def _to_its_end(mine: list[int], seen: Rendered, number: int, content: str) -> bool:
    """Is the last token of a message's content trained? Of calls without words, any."""
    stop = seen.starts.get(number, 0) + len(content)
    within = [at for at in mine if content and seen.offset[at][0] < stop]
    return seen.trained[within[-1]] if within else any(seen.trained[at] for at in mine)


def _begins_a_turn(seen: Rendered, at: int, control: set[int]) -> bool:
    """Does a word follow this token at once, as in ``<|im_start|>user``? Then it begins a turn and ends none."""
    after = at + 1
    return after < len(seen) and seen.ids[after] not in control and bool(seen.text[after].strip())


def _begun(seen: Rendered, tokenizer: Any, control: set[int]) -> Assertion:
    bos = tokenizer.bos_token_id
    if bos is None:
        return Assertion(BEGUN, None, "The tokenizer has no begin-of-text token.")
    again = [at for at in range(1, len(seen)) if seen.ids[at] == bos]
    odd = [at for at in again if seen.ids[at - 1] == bos or not _own_place(seen, at, tokenizer.eos_token_id, control)]
    if odd:
        return Assertion(BEGUN, False, f"Begin-of-text stands again at token {odd[0]}, where no text begins.")
    wanted = tokenizer("", add_special_tokens=True)["input_ids"][:1] == [bos]
    if wanted and seen.ids[:1] != [bos]:
        return Assertion(BEGUN, False, "The tokenizer puts begin-of-text in front; the chat template does not.")
    return Assertion(BEGUN, True, "Begin-of-text stands where it belongs.")


def _own_place(seen: Rendered, at: int, eos: int | None, control: set[int]) -> bool:
    """After end-of-text, at the beginning of a turn, or where it is end-of-text itself."""
    return eos in (seen.ids[at - 1], seen.ids[at]) or _begins_a_turn(seen, at, control)


def _only_learnt(seen: Rendered, policy: str) -> Assertion:
    if policy == "all":
        return Assertion(LEARNT_ONLY, None, "The policy all trains everything, on purpose.")
    wrong = Counter(role for role, trained in zip(seen.role, seen.trained) if trained and role not in LEARNT)
    if wrong:
        said = ", ".join(f"{count} tokens of {role}" for role, count in wrong.items())
        return Assertion(LEARNT_ONLY, False, f"{said} would be trained.")
    return Assertion(LEARNT_ONLY, True, "Only answers are trained.")


def _something(seen: Rendered, most: int) -> Assertion:
    """The first token of a row is predicted from nothing, so it trains nothing."""
    left, whole = sum(seen.trained[1:most]), sum(seen.trained[1:])
    if left:
        return Assertion(EMPTY, True, f"{left} of {whole} trained tokens are left at {most}.")
    said = f"All {whole} trained tokens lie beyond {most}" if whole else "It has no token to train"
    return Assertion(EMPTY, False, f"{said}; the row has {len(seen)} tokens.")


def _same_ids(row: Row, seen: Rendered, tokenizer: Any) -> Assertion:
    messages = row["messages"]
    if messages[0]["role"] == PLAIN:
        return Assertion(TEMPLATE, None, "Plain text has no template.")
    text = template_engine.render(tokenizer, [Conversation(messages, tools=row.get("tools"))])[0]
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if list(ids) == seen.ids:
        return Assertion(TEMPLATE, True, "The ids are the template's own.")
    if any(name in turn["content"] for name in tokenizer.get_added_vocab() if name.strip() for turn in messages):
        return Assertion(TEMPLATE, None, "It holds control tokens typed as text, which the template would forge.")
    at = next((at for at, (one, other) in enumerate(zip(ids, seen.ids)) if one != other), min(len(ids), len(seen)))
    return Assertion(TEMPLATE, False, f"The chat template gives other ids than a moment ago, from token {at} on.")


def refusal(failed: dict[str, list[tuple[str, str]]], rows: int) -> str:
    """What to say of rows that fail: {assertion: [(row id, why)]}."""
    return "\n".join(_lines(failed, rows))


def _lines(failed: dict[str, list[tuple[str, str]]], rows: int) -> Iterator[str]:
    for name, held in failed.items():
        shown = "; ".join(f"row {row}: {why}" for row, why in held[:3])
        yield f"{name}: {len(held)} of {rows} rows. {shown}{' …' * (len(held) > 3)} {FIXES[name]}"
