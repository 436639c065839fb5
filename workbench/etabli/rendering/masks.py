"""What is trained of a message's content, by the policy and by the marks of the row."""

from collections.abc import Sequence

from etabli.core.contracts import Message
from etabli.core.errors import BadData, BadInput

PLAIN = "text"  # the role of text without a template
POLICIES = ("answers", "last", "all", "spans", "answers_and_reasoning")
Flag = bool | list[list[int]]  # whether a message is trained, or which spans of its content are


def check_messages(messages: list[Message], policy: str) -> None:
    """Check what ``render`` gets.

    Raises:
        BadInput: an unknown policy. BadData: a malformed message.
    """
    if policy not in POLICIES:
        raise BadInput(f"Unknown mask policy {policy!r}; there are {', '.join(POLICIES)}.")
    if not messages:
        raise BadData("A conversation without messages can't be rendered.")
    for number, message in enumerate(messages, 1):
        if not isinstance(message.get("role"), str) or not isinstance(message.get("content"), str):
            raise BadData(f"Message {number} needs a role and a content that are text; it has {sorted(message)}.")
        require_unicode(message["content"], f"Message {number}")
        if (message["role"] == PLAIN) != (messages[0]["role"] == PLAIN):
            raise BadData(f"Message {number}: plain text and turns of a chat can't be mixed.")
        if not has_valid_spans(message):
            raise BadData(f"Message {number}: spans are pairs [first character, one after the last] of its content.")
        if not isinstance(message.get("reasoning") or "", str):
            raise BadData(f"Message {number}: reasoning is {type(message['reasoning']).__name__}, not text.")
        require_unicode(message.get("reasoning") or "", f"Message {number}")
        if message.get("reasoning") and message["role"] != "assistant":
            raise BadData(f"Message {number}: reasoning belongs to an assistant's message, not to {message['role']}.")


def require_unicode(text: str, what: str) -> None:
    """Refuse half of a character (a lone surrogate), which no tokenizer can read."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadData(f"{what} holds half of a character ({text[error.start]!a}): remove it there.") from None


def has_valid_spans(message: Message) -> bool:
    """Return whether a message's spans, if it has any, are pairs of places in its content."""
    length = len(message["content"])
    return all(_are_spans(message.get(name) or [], length) for name in ("spans", "train_spans"))


def _are_spans(spans: object, length: int) -> bool:
    return isinstance(spans, list | tuple) and all(
        isinstance(span, list | tuple)
        and len(span) == 2
        and all(isinstance(edge, int) for edge in span)
        and 0 <= span[0] < span[1] <= length
        for span in spans
    )


def is_segmented(messages: list[Message]) -> bool:
    """Return whether plain texts are segments that each say whether they are trained (axolotl's input_output)."""
    return all(message["role"] == PLAIN and message.get("train") is not None for message in messages)


def training_flags(messages: list[Message], policy: str) -> list[Flag]:
    """Return for each message whether the policy trains it, or which spans of it.

    The row's own marks, ``train`` and ``train_spans``, override the policy.
    """
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    texts = [index for index, message in enumerate(messages) if message["role"] == PLAIN]
    trained_turns = set(answers[-1:] if policy == "last" else answers + texts)
    flags: list[Flag] = []
    for index, message in enumerate(messages):
        override = message.get("train")
        if override is not None:
            flags.append(bool(override))
        elif "train_spans" in message:
            flags.append(message["train_spans"])
        elif policy == "spans":
            flags.append(message.get("spans") or [])
        else:
            flags.append(index in trained_turns)
    return flags


def trained_spans(message: Message, flag: Flag) -> Sequence[Sequence[int]]:
    """Return the spans of a content that are trained; ``flag`` is what ``training_flags`` gave for its message."""
    return [[0, len(message["content"])]] if flag is True else flag or []
