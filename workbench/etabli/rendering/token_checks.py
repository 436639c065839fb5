"""Check a row's tokens before anything is trained on them.

``end-of-turn``       every answer trained to its end is followed by a control token, which is trained too
``one-bos``           begin-of-text is the first token, if the tokenizer wants it; it comes again only where a template
                      begins a turn with it (ChatML of some models) or after end-of-text (Llama 2)
``user-not-trained``  no text of a user, a system message or a tool is trained (except under the policy ``all``)
``not-empty``         at least one token is trained after the row is cut at ``max_length``
``template-ids``      the ids are those of the model's own chat template; a template that refuses the row fails too
"""

from collections import Counter
from typing import NamedTuple

from etabli.core.contracts import Row
from etabli.rendering.render import RenderedConversation
from etabli.rendering.template import PLAIN
from etabli.rendering.template_engine import ChatTokenizer, Conversation, apply_template

NAMES = ("end-of-turn", "one-bos", "user-not-trained", "not-empty", "template-ids")
END_OF_TURN, ONE_BOS, USER_NOT_TRAINED, EMPTY, TEMPLATE = NAMES
TRAINABLE_ROLES = ("assistant", PLAIN, "template")
FIXES = {
    END_OF_TURN: "Use the instruct version of the model, or give its tokenizer a chat template that ends turns.",
    ONE_BOS: "Correct the model's chat template: begin-of-text belongs there once, in front.",
    USER_NOT_TRAINED: "Remove train: true (or the spans) from that message, or choose the policy all on purpose.",
    EMPTY: "Raise max_length, give the row an answer, or leave such rows out: empty_rows: leave_out.",
    TEMPLATE: "Correct the row, or take what changes from call to call (a date, a time) out of the chat template.",
}


class Assertion(NamedTuple):
    """The result of one check. ``ok`` is None where the check does not apply."""

    name: str
    ok: bool | None
    why: str


def check_row(
    row: Row, tokens: RenderedConversation, tokenizer: ChatTokenizer, policy: str, max_length: int, own: bool = True
) -> list[Assertion]:
    """Return the result of every check of a row.

    Args:
        row: the row.
        tokens: the row as it was rendered, not yet cut.
        tokenizer: the model's own.
        policy: what is trained.
        max_length: tokens a row may have.
        own: compare with the template's own ids too, which takes as long as rendering.
    """
    # Collected once a row: DeepSeek's 1,283 added tokens take longer to collect than everything else to check.
    control = {*tokenizer.get_added_vocab().values(), tokenizer.eos_token_id}
    assertions = [
        _check_end_of_turn(row, tokens, tokenizer, control),
        _check_bos(tokens, tokenizer, control),
        _check_roles(tokens, policy),
        _check_not_empty(tokens, max_length),
    ]
    return [*assertions, _check_template_ids(row, tokens, tokenizer)] if own else assertions


def _check_end_of_turn(
    row: Row, tokens: RenderedConversation, tokenizer: ChatTokenizer, control: set[int | None]
) -> Assertion:
    places_by_message: dict[int | None, list[int]] = {}
    for place, number in enumerate(tokens.message):
        places_by_message.setdefault(number, []).append(place)
    for number, turn in enumerate(row["messages"]):
        places = places_by_message.get(number, [])
        if turn["role"] not in ("assistant", PLAIN):
            continue
        if not _is_trained_to_end(places, tokens, number, turn["content"]):
            continue
        last = places[-1] if turn["role"] == "assistant" else len(tokens) - 1
        ends = tokens.ids[last] == tokenizer.eos_token_id or not _begins_turn(tokens, last, control)
        if tokens.ids[last] not in control or not tokens.trained[last] or not ends:
            why = f"Turn {number} ends with {tokens.text[last]!r}, no trained control token: it never learns to stop."
            return Assertion(END_OF_TURN, False, why)
    return Assertion(END_OF_TURN, True, "Every answer trained to its end is followed by a trained control token.")


def _is_trained_to_end(places: list[int], tokens: RenderedConversation, number: int, content: str) -> bool:
    """Return whether the last token of a message's content is trained; without content, whether any token is."""
    stop = tokens.starts.get(number, 0) + len(content)
    in_content = [place for place in places if content and tokens.offset[place][0] < stop]
    return tokens.trained[in_content[-1]] if in_content else any(tokens.trained[place] for place in places)


def _begins_turn(tokens: RenderedConversation, place: int, control: set[int | None]) -> bool:
    """Return whether a word follows this token at once, as in ``<|im_start|>user``: then it begins a turn."""
    following = place + 1
    return following < len(tokens) and tokens.ids[following] not in control and bool(tokens.text[following].strip())


def _check_bos(tokens: RenderedConversation, tokenizer: ChatTokenizer, control: set[int | None]) -> Assertion:
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    if bos is None:
        return Assertion(ONE_BOS, None, "The tokenizer has no begin-of-text token.")
    for place in range(1, len(tokens)):
        previous = tokens.ids[place - 1]
        # Allowed: after end-of-text, at the beginning of a turn, or where it is end-of-text itself.
        allowed = eos in (previous, bos) or _begins_turn(tokens, place, control)
        if tokens.ids[place] == bos and (previous == bos or not allowed):
            return Assertion(ONE_BOS, False, f"Begin-of-text comes again at token {place}, where no text begins.")
    expects_bos = tokenizer("", add_special_tokens=True)["input_ids"][:1] == [bos]
    if expects_bos and tokens.ids[:1] != [bos]:
        return Assertion(ONE_BOS, False, "The tokenizer puts begin-of-text in front; the chat template does not.")
    return Assertion(ONE_BOS, True, "Begin-of-text is where it belongs.")


def _check_roles(tokens: RenderedConversation, policy: str) -> Assertion:
    if policy == "all":
        return Assertion(USER_NOT_TRAINED, None, "The policy all trains everything, on purpose.")
    wrong = Counter(
        role for role, is_trained in zip(tokens.role, tokens.trained) if is_trained and role not in TRAINABLE_ROLES
    )
    if wrong:
        counts = ", ".join(f"{count} tokens of {role}" for role, count in wrong.items())
        return Assertion(USER_NOT_TRAINED, False, f"{counts} would be trained.")
    return Assertion(USER_NOT_TRAINED, True, "Only answers are trained.")


def _check_not_empty(tokens: RenderedConversation, max_length: int) -> Assertion:
    """Check that a token is trained; the first token of a row is not predicted, so it does not count."""
    remaining, total = sum(tokens.trained[1:max_length]), sum(tokens.trained[1:])
    if remaining:
        return Assertion(EMPTY, True, f"{remaining} of {total} trained tokens are left at {max_length}.")
    cause = f"All {total} trained tokens lie beyond {max_length}" if total else "It has no token to train"
    return Assertion(EMPTY, False, f"{cause}; the row has {len(tokens)} tokens.")


def _check_template_ids(row: Row, tokens: RenderedConversation, tokenizer: ChatTokenizer) -> Assertion:
    messages = row["messages"]
    if messages[0]["role"] == PLAIN:
        return Assertion(TEMPLATE, None, "Plain text has no template.")
    text = apply_template(tokenizer, [Conversation(messages, tools=row.get("tools"))])[0]
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    if ids == tokens.ids:
        return Assertion(TEMPLATE, True, "The ids are the template's own.")
    if any(name in turn["content"] for name in tokenizer.get_added_vocab() if name.strip() for turn in messages):
        return Assertion(TEMPLATE, None, "A message holds a control token as text, which the template would forge.")
    differences = (place for place, (left, right) in enumerate(zip(ids, tokens.ids)) if left != right)
    first = next(differences, min(len(ids), len(tokens)))
    return Assertion(TEMPLATE, False, f"The chat template gives other ids than a moment ago, from token {first} on.")


def describe_failures(failures: dict[str, list[tuple[str, str]]], rows: int) -> str:
    """Return a message about rows that fail, one line a check.

    Args:
        failures: {name of the check: [(row id, why)]}.
        rows: how many rows were checked.
    """
    lines = []
    for name, cases in failures.items():
        examples = "; ".join(f"row {row}: {why}" for row, why in cases[:3])
        lines.append(f"{name}: {len(cases)} of {rows} rows. {examples}{' …' * (len(cases) > 3)} {FIXES[name]}")
    return "\n".join(lines)
