"""Conversations as APIs and chat services export them, made rows with ``messages``: Claude, ChatGPT, Cohere, batches.

A row that is one turn of a conversation is not among them: ``is_single_turn`` tells it, and no format reads it.
"""

from collections.abc import Mapping

from etabli.data.notes import Note, excerpt
from etabli.data.reading.layout import Item

_SPEAKERS = ("role", "sender", "from", "speaker", "author")
_PARENTS = ("parent_id", "parent", "reply_to", "in_reply_to", "parent_message_id")
_TEXTS = ("text", "content", "message", "value", "body")
_CONVERSATIONS = {"messages", "conversations", "prompt", "completion", "instruction", "output"}
_NAMES = {
    **dict.fromkeys(("human", "user", "prompter", "customer"), "user"),
    **dict.fromkeys(("assistant", "bot", "chatbot", "agent", "gpt", "ai", "model"), "assistant"),
    **dict.fromkeys(("system", "tool"), ""),
}
_REQUESTS = ("params", "body", "request")  # Anthropic's and OpenAI's batches


def is_single_turn(item: object) -> bool:
    """Return whether a row is one turn: a text and who says it or what it answers, and no conversation."""
    if not isinstance(item, Mapping) or _CONVERSATIONS & item.keys() or not any(name in item for name in _TEXTS):
        return False
    is_reply = any(name in item for name in _PARENTS) and any(name in item for name in (*_SPEAKERS, "message_id"))
    return is_reply or any(str(item.get(name)).casefold() in _NAMES for name in _SPEAKERS)


def is_claude(item: Item) -> bool:
    """Return whether a row is a conversation of Claude's export."""
    return isinstance(item.get("chat_messages"), list)


def flatten_claude(item: Item) -> tuple[object, list[Note]]:
    """Return the conversation of Claude's export; attached files are noted, since only their names are there."""
    notes: list[Note] = []
    messages = []
    for number, turn in enumerate(_list_objects(item["chat_messages"])):
        sender = turn.get("sender")
        messages.append({"role": "user" if sender == "human" else sender, "content": turn.get("text")})
        for name in ("attachments", "files"):
            if turn.get(name):
                place = f"chat_messages[{number}].{name}"
                notes.append(Note("unused-content", place, excerpt(turn[name]), f"{place} is not read."))
    return {**_without(item, "chat_messages"), "messages": messages}, notes


def is_chatgpt(item: Item) -> bool:
    """Return whether a row is a conversation of ChatGPT's export: a tree of messages."""
    nodes = item.get("mapping")
    return isinstance(nodes, Mapping) and bool(nodes) and all(_is_node(node) for node in nodes.values())


def _is_node(node: object) -> bool:
    return isinstance(node, Mapping) and "message" in node and ("parent" in node or "children" in node)


def flatten_chatgpt(item: Item) -> tuple[object, list[Note]]:
    """Return the branch that was shown last; other branches are noted."""
    nodes: Mapping[str, Mapping[str, object]] = item["mapping"]  # type: ignore[assignment]  # ``is_chatgpt`` has seen it
    parents = {node.get("parent") for node in nodes.values()}
    leaves = [name for name in nodes if name not in parents]
    branch: list[object] = []
    place = item.get("current_node") or leaves[-1]
    while isinstance(place, str) and place in nodes and len(branch) <= len(nodes):
        branch.append(nodes[place].get("message"))
        place = nodes[place].get("parent")
    messages = [_read_chatgpt_turn(turn) for turn in reversed(branch) if isinstance(turn, Mapping)]
    notes = [Note("other-answers", "mapping", str(len(leaves)), "Other branches of the conversation are not read.")]
    conversation = {**_without(item, "mapping", "current_node"), "messages": [turn for turn in messages if turn]}
    return conversation, notes if len(leaves) > 1 else []


def _read_chatgpt_turn(turn: Mapping[str, object]) -> dict[str, object] | None:
    """Return a turn; None for one that ChatGPT hides, which is empty."""
    author, content = turn.get("author"), turn.get("content")
    role = author.get("role") if isinstance(author, Mapping) else author
    parts = content.get("parts", [content]) if isinstance(content, Mapping) else content
    is_empty = not parts or (isinstance(parts, list) and not any(parts))
    return None if is_empty and role != "user" else {"role": role, "content": parts}


def is_request(item: Item) -> bool:
    """Return whether a row is a request of a batch, whose conversation stands in an object."""
    return not _CONVERSATIONS & item.keys() and _find_request(item) is not None


def _find_request(item: Item) -> str | None:
    objects = {name: item.get(name) for name in _REQUESTS}
    return next((name for name, value in objects.items() if isinstance(value, Mapping) and "messages" in value), None)


def flatten_request(item: Item) -> tuple[object, list[Note]]:
    """Return the request's columns beside those of the row."""
    name = _find_request(item)
    request = item.get(name) if name else None
    return ({**_without(item, str(name)), **request} if isinstance(request, Mapping) else item), []


def is_cohere(item: Item) -> bool:
    """Return whether a row is a request of Cohere's chat with its answer."""
    return {"chat_history", "message"} <= item.keys() and any(name in item for name in ("response", "text"))


def flatten_cohere(item: Item) -> tuple[object, list[Note]]:
    """Return the history, the message and the answer as one conversation."""
    answer = "response" if "response" in item else "text"
    past = [_read_cohere_turn(turn) for turn in _list_objects(item["chat_history"])]
    asked = [{"role": "user", "content": item["message"]}, {"role": "assistant", "content": item[answer]}]
    return {**_without(item, "chat_history", "message", answer), "messages": [*past, *asked]}, []


def _read_cohere_turn(turn: Mapping[str, object]) -> dict[str, object]:
    role = str(turn.get("role")).casefold()
    content = turn.get("message", turn.get("content"))
    return {**_without(turn, "message"), "role": "assistant" if role == "chatbot" else role, "content": content}


def _list_objects(value: object) -> list[Mapping[str, object]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _without(item: Item, *names: str) -> dict[str, object]:
    return {name: value for name, value in item.items() if name not in names}


CONVERTERS = (
    (is_claude, flatten_claude),
    (is_chatgpt, flatten_chatgpt),
    (is_request, flatten_request),
    (is_cohere, flatten_cohere),
)
