"""Hear what a page sends to one widget while a cell waits, and let a page that was loaded again connect.

A kernel handles messages one after the other, so a button that is pressed while a cell runs is heard when the cell has
ended. ``handle_messages`` is called by a cell that waits. It takes the messages that have come off the kernel's queue:
those for the widget are handled, all others go back to the kernel in their order. Stop needs no more than this: the
run reads a file. A page that was loaded again asks what kernel this is, which widgets there are and what their state is
before it shows any: these questions change nothing, and are answered too.

ipykernel 6 has one stream for all messages; ipykernel 7 has one from its own thread to the main thread, and a socket
back. Of another kernel nothing is taken off: there the button is heard after the cell, as before.
"""

import contextlib
import inspect
import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

POLLIN, POLLOUT = 1, 2  # as in zmq: messages that have come, messages that are to be sent
_QUESTIONS = ("kernel_info_request", "comm_info_request")  # about the kernel, which a page that connects asks
Frames = Sequence[Any]  # one message of the Jupyter protocol, as zmq frames


def handle_messages(model_id: str) -> None:
    """Handle the messages that have come for a widget, if this is the main thread of a notebook's kernel."""
    kernel, stream = _kernel_and_stream()
    original = getattr(stream, "_recv_callback", None)
    if stream is None or original is None or threading.current_thread() is not threading.main_thread():
        return
    stream.on_recv(_make_filter(kernel, stream, original, model_id), copy=False)
    try:
        stream.flush(POLLIN)
    finally:
        stream.on_recv(original, copy=False)


def _kernel_and_stream() -> tuple[Any, Any]:
    """Return the kernel of this process and the stream of the main thread's messages; None where there is none."""
    from IPython.core.getipython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    thread = getattr(kernel, "shell_channel_thread", None)
    if thread is None:
        return kernel, getattr(kernel, "shell_stream", None)
    pair = getattr(getattr(thread, "manager", None), "_shell_channel_to_main", None)
    return kernel, getattr(pair, "to_stream", None)


def _make_filter(kernel: Any, stream: Any, original: Callable[[Frames], Any], model_id: str) -> Callable[[Frames], Any]:
    """Return what is called with each message: it handles what is answered at once, and passes on all others."""

    def take(frames: Frames) -> Any:
        identities, parts = kernel.session.feed_identities(frames, copy=False)
        name = _handler_name(parts, model_id)
        if name is None:
            return original(frames)
        message = kernel.session.deserialize(parts, copy=False)
        if name in _QUESTIONS:
            _answer_question(kernel, stream, identities, message)
        else:
            getattr(kernel.comm_manager, name)(stream, identities, message)
        return None

    return take


def _handler_name(parts: Frames, model_id: str) -> str | None:
    """Return the type of a message that is handled while a cell waits; None if it has to wait, too.

    Args:
        parts: signature, header, parent, metadata, content.
        model_id: the widget's.
    """
    if len(parts) < 5:
        return None
    header, content = (json.loads(bytes(parts[number].bytes)) for number in (1, 4))
    name = str(header.get("msg_type"))
    data = content.get("data")
    asks_for_state = isinstance(data, dict) and data.get("method") in ("request_state", "request_states")
    is_answered = {
        "comm_open": content.get("target_name") == "jupyter.widget.control",
        "comm_msg": content.get("comm_id") == model_id or asks_for_state,
    }
    return name if name in _QUESTIONS or is_answered.get(name) else None


def _answer_question(kernel: Any, stream: Any, identities: Any, message: dict[str, Any]) -> None:
    """Answer a question about the kernel. A page takes it as answered once the kernel says that it is idle again."""
    thread = getattr(kernel, "shell_channel_thread", None)
    target = thread.manager.get_subshell_to_shell_channel_socket(None) if thread is not None else stream
    kernel._publish_status("busy", "shell", parent=message)
    answer = getattr(kernel, message["header"]["msg_type"])(target, identities, message)
    if inspect.iscoroutine(answer):  # these never wait for anything, so one step takes them to their end
        with contextlib.suppress(StopIteration):
            answer.send(None)
        answer.close()
    if target is stream:
        stream.flush(POLLOUT)  # ipykernel 6 would send it when the cell has ended
    kernel._publish_status("idle", "shell", parent=message)
