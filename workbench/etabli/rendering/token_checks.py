"""Check a row's tokens before anything is trained on them.

``end-of-turn``       every answer trained to its end is followed by a control token, which is trained too; where the
                      row ends with it, every control token of its end is, and generation stops at the last one;
                      it stops at the end of every turn of tool calls
``whole-answer``      every token that holds a letter of a trained content is trained, the first one too, which may
                      begin in the template's text (``▁It``); and every word of a trained tool call
``one-bos``           begin-of-text is the first token, if the tokenizer wants it; it comes again only where a template
                      begins a turn with it (ChatML of some models) or after end-of-text (Llama 2)
``user-not-trained``  no text of a user, a system message or a tool is trained (except under the policy ``all``, and
                      where the row marks it: ``train``, ``train_spans``)
``not-empty``         at least one token is trained after the row is cut at ``max_length``
``template-ids``      the ids are those of the model's own chat template; a template that refuses the row fails too
``generation-prompt`` the last trained answer follows the very prompt that generation uses
"""

from bisect import bisect_left
from collections import Counter
from typing import NamedTuple, cast

from etabli.core.contracts import Message, Row
from etabli.core.errors import BadData
from etabli.rendering.call_checks import find_untrained_word, stops_after
from etabli.rendering.layout import REASONING, is_opener
from etabli.rendering.masks import PLAIN, is_segmented, trained_spans, training_flags
from etabli.rendering.render import RenderedConversation, Renderer, has_thoughts, is_merged
from etabli.rendering.template_engine import ChatTokenizer, Conversation, try_template

NAMES = (
    "end-of-turn",
    "one-bos",
    "user-not-trained",
    "whole-answer",
    "not-empty",
    "template-ids",
    "generation-prompt",
)
END_OF_TURN, ONE_BOS, USER_NOT_TRAINED, WHOLE_ANSWER, EMPTY, TEMPLATE, PROMPT = NAMES
TRAINABLE_ROLES = ("assistant", REASONING, PLAIN, "template")
FIXES = {
    END_OF_TURN: "Use the instruct version of the model, or give its tokenizer a chat template that ends turns.",
    ONE_BOS: "Correct the model's chat template: begin-of-text belongs there once, in front.",
    USER_NOT_TRAINED: "Remove the spans from that message, or choose the policy all on purpose.",
    WHOLE_ANSWER: "Where parts of an answer have marks, let each begin with a word: a token can't be cut. Elsewhere "
    "this is a fault of établi with this template: please report the model's name.",
    EMPTY: "Raise max_length, give the row an answer, or leave such rows out: empty_rows: leave_out.",
    TEMPLATE: "Correct these rows, or leave them out.",
    PROMPT: "If the prompt opens a thought, give the answers a reasoning; if answers begin with blanks, remove these; "
    "or give the tokenizer a chat template whose prompt ends where the answers begin.",
}


class Assertion(NamedTuple):
    """The result of one check. ``ok`` is None where the check does not apply."""

    name: str
    ok: bool | None
    why: str


def check_row(
    row: Row, tokens: RenderedConversation, renderer: Renderer, policy: str, max_length: int, own: bool = True
) -> list[Assertion]:
    """Return the result of every check of a row.

    Args:
        row: the row.
        tokens: the row as it was rendered, not yet cut.
        renderer: what rendered it.
        policy: what is trained.
        max_length: tokens a row may have.
        own: compare with the template's own ids and prompt too, which takes as long as rendering.
    """
    tokenizer = renderer.tokenizer
    control = {number for name, number in renderer.added_vocab.items() if name.strip()} | {tokenizer.eos_token_id}
    assertions = [
        _check_end_of_turn(row, tokens, renderer, control),
        _check_bos(tokens, tokenizer, control),
        _check_roles(row, tokens, policy),
        _check_whole_answers(row, tokens, policy),
        _check_not_empty(tokens, max_length),
    ]
    if row["messages"][0]["role"] == PLAIN:
        return [*assertions, *(Assertion(name, None, "Plain text has no template.") for name in (TEMPLATE, PROMPT))]
    flags = training_flags(row["messages"], policy)
    answers = [n for n, turn in enumerate(row["messages"]) if turn["role"] == "assistant" and flags[n]]
    answer = answers[-1] if answers else 0
    if own:
        return [*assertions, *_check_against_template(row, tokens, renderer, answer)]
    return [*assertions, _check_prompt(row, tokens, answer)]


def _check_end_of_turn(
    row: Row, tokens: RenderedConversation, renderer: Renderer, control: set[int | None]
) -> Assertion:
    if is_segmented(row["messages"]):
        return Assertion(END_OF_TURN, None, "Segments end as they are written.")
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
        ends = tokens.ids[last] == renderer.tokenizer.eos_token_id or not _begins_turn(tokens, last, control)
        if tokens.ids[last] not in control or not tokens.trained[last] or not ends:
            why = f"Turn {number} ends with {tokens.text[last]!r}, no trained control token: it never learns to stop."
            return Assertion(END_OF_TURN, False, why)
        is_last = number == len(row["messages"]) - 1
        if is_last:
            end = next(place for place in reversed(range(len(tokens))) if tokens.ids[place] in control)
            if not tokens.trained[end] and not is_opener(tokens.text[end], renderer.control):
                why = f"The row ends with {tokens.text[end]!r}, which is not trained: it never learns to stop there."
                return Assertion(END_OF_TURN, False, why)
        is_checked = turn["role"] == "assistant" and (is_last or turn.get("tool_calls"))
        if is_checked and not stops_after(last, tokens, renderer):
            subject = "The row" if is_last else f"Turn {number}, a tool call,"
            why = f"{subject} ends with {tokens.text[last]!r}, and generation does not stop there: it would go on."
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
    if bos is None or set(tokens.role) == {PLAIN}:
        why = "The tokenizer has no begin-of-text token." if bos is None else "Segments stand as they are written."
        return Assertion(ONE_BOS, None, why)
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


def _check_roles(row: Row, tokens: RenderedConversation, policy: str) -> Assertion:
    """Check that no text of another role is trained, but for messages that the row marks."""
    if policy == "all":
        return Assertion(USER_NOT_TRAINED, None, "The policy all trains everything, on purpose.")
    marked = {number for number, turn in enumerate(row["messages"]) if turn.get("train") or turn.get("train_spans")}
    owners = zip(tokens.role, tokens.trained, tokens.message)
    wrong = Counter(
        role for role, flag, owner in owners if flag and role not in TRAINABLE_ROLES and owner not in marked
    )
    if wrong:
        counts = ", ".join(f"{count} tokens of {role}" for role, count in wrong.items())
        return Assertion(USER_NOT_TRAINED, False, f"{counts} would be trained.")
    why = "Only answers, and what the row marks, are trained." if marked else "Only answers are trained."
    return Assertion(USER_NOT_TRAINED, True, why)


def _check_not_empty(tokens: RenderedConversation, max_length: int) -> Assertion:
    """Check that a token is trained; the first token of a row is not predicted, so it does not count."""
    remaining, total = sum(tokens.trained[1:max_length]), sum(tokens.trained[1:])
    if remaining:
        return Assertion(EMPTY, True, f"{remaining} of {total} trained tokens are left at {max_length}.")
    cause = f"All {total} trained tokens lie beyond {max_length}" if total else "It has no token to train"
    return Assertion(EMPTY, False, f"{cause}; the row has {len(tokens)} tokens.")


def _check_whole_answers(row: Row, tokens: RenderedConversation, policy: str) -> Assertion:
    """Check by the tokens' places, not by their owners, that no letter of a trained content or call is left out."""
    if policy == "all":
        return Assertion(WHOLE_ANSWER, None, "The policy all trains everything.")
    lows = [low for low, _ in tokens.offset]
    for number, (message, flag) in enumerate(zip(row["messages"], training_flags(row["messages"], policy))):
        if flag is True and (word := find_untrained_word(message, number, tokens)):
            why = f"Turn {number} is trained, but {word!r} of its tool calls is not."
            return Assertion(WHOLE_ANSWER, False, why)
        for low, high in trained_spans(message, flag) if number in tokens.starts else ():
            text = message["content"][low:high]
            if not text.strip():
                continue
            begin = tokens.starts[number] + low + len(text) - len(text.lstrip())
            first, stop = bisect_left(lows, begin), bisect_left(lows, begin + len(text.strip()))
            if first and tokens.offset[first - 1][1] > begin:
                owner = tokens.message[first - 1]
                first -= owner is None or owner == number  # it begins in the template's text, or in another part
            lost = next((place for place in range(first, stop) if not tokens.trained[place]), None)
            if lost is not None:
                why = f"Turn {number} is trained, but {tokens.text[lost]!r} of it (token {lost}) is not."
                return Assertion(WHOLE_ANSWER, False, why)
    return Assertion(WHOLE_ANSWER, True, "All of each trained content and call is trained.")


def _check_against_template(
    row: Row, tokens: RenderedConversation, renderer: Renderer, answer: int
) -> tuple[Assertion, Assertion]:
    """Check the ids, and what the last trained answer follows, against the template's own renderings."""
    messages, tools = row["messages"], row.get("tools")
    form, thinking = renderer.layout(messages, tools).form, has_thoughts(messages)
    shown = form.apply(messages)
    asked = [_without_thought(turn) if n in tokens.dropped_thoughts else turn for n, turn in enumerate(messages)]
    conversations = [
        Conversation(shown, False, tools, thinking),
        Conversation(form.apply(asked[:answer]), True, tools, thinking),
        Conversation(shown[: answer + 1], False, tools, thinking),
    ]
    own, prompt, ended = try_template(renderer.tokenizer, conversations)
    if isinstance(own, BadData):
        raise own
    check = _check_prompt(row, tokens, answer)
    is_own_prompt = answer and thinking == bool(messages[answer].get("reasoning"))
    if is_own_prompt and isinstance(prompt, str) and isinstance(ended, str) and not ended.startswith(prompt):
        common = next((n for n, (left, right) in enumerate(zip(prompt, ended)) if left != right), len(ended))
        why = (
            f"The prompt for turn {answer} goes on with {prompt[common:][:80]!r}, the row with {ended[common:][:40]!r}."
        )
        check = Assertion(PROMPT, False, why)
    return _check_template_ids(row, tokens, renderer, own), check


def _without_thought(message: Message) -> Message:
    return cast(Message, {key: value for key, value in message.items() if key != "reasoning"})


def _check_template_ids(row: Row, tokens: RenderedConversation, renderer: Renderer, text: str) -> Assertion:
    encoding = renderer.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids = list(encoding["input_ids"])
    if ids == tokens.ids:
        return Assertion(TEMPLATE, True, "The ids are the template's own.")
    other = {*zip(ids, map(tuple, encoding["offset_mapping"]))} - {*zip(tokens.ids, tokens.offset)}
    if len(other) == tokens.split_tokens:
        why = f"The ids are the template's own, but for {len(other)} across prompt and answer: two, as in generation."
        return Assertion(TEMPLATE, True, why)
    typed = [turn["content"] + turn.get("reasoning", "") for turn in row["messages"]]
    if any(name in content for name in renderer.added_vocab if name.strip() for content in typed):
        return Assertion(TEMPLATE, None, "A message holds a control token as text, which the template would forge.")
    differences = (place for place, (left, right) in enumerate(zip(ids, tokens.ids)) if left != right)
    first = next(differences, min(len(ids), len(tokens)))
    why = f"The chat template gives other ids than a moment ago, from token {first} on. Take what changes from call to "
    return Assertion(TEMPLATE, False, why + "call (a date, a time) out of the template.")


def _check_prompt(row: Row, tokens: RenderedConversation, answer: int) -> Assertion:
    """Check what the trained answers follow, each as the end of a conversation: later turns may change that.

    Args:
        answer: the last trained answer; 0 if there is none after a question.
    """
    if not answer:
        return Assertion(PROMPT, None, "No trained answer follows a prompt.")
    trained = {number for number, is_trained in zip(tokens.message, tokens.trained) if is_trained}
    if off_prompt := [number for number in tokens.off_prompt if number in trained]:
        why = f"Turn {off_prompt[0]} does not follow the prompt that the template writes for generation."
        return Assertion(PROMPT, False, why)
    if merged := _token_across(answer, tokens):
        why = (
            f"The token {merged!r} holds the end of the prompt and the beginning of turn {answer}: no answer begins so."
        )
        return Assertion(PROMPT, False, why)
    why = "The trained answers follow the prompt that generation uses."
    if tokens.rewritten:
        why += f" In this row {len(tokens.rewritten)} earlier ones have another header, as in every later prompt."
    if tokens.dropped_thoughts:
        why += f" The thoughts of {len(tokens.dropped_thoughts)} are left out: the template drops them."
    return Assertion(PROMPT, True, why)


def _token_across(answer: int, tokens: RenderedConversation) -> str | None:
    """Return the token that holds the end of the template's text and the beginning of an answer, if there is one."""
    begin = tokens.kept_from.get(answer, 0)
    place = bisect_left([low for low, _ in tokens.offset], begin) - 1
    if place < 1 or tokens.message[place - 1] == answer:
        return None
    (low, high), text = tokens.offset[place], tokens.text[place]
    return text if low < begin < high and is_merged(text[: begin - low], text[begin - low :]) else None


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
