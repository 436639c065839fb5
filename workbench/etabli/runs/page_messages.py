"""Hear what a page sends to one widget while a cell waits.

A kernel handles messages one after the other, so a button that is pressed while a cell runs is heard when the cell has
ended. ``handle_messages`` is called by a cell that waits. It takes the messages that have come off the kernel's queue:
those for the widget are handled, all others go back to the kernel in their order. Stop needs no more than this: the
run reads a file.

ipykernel 6 has one stream for all messages, ipykernel 7 one from its own thread to the main thread. Another kernel
gets nothing taken off: there the button is heard after the cell, as before.
"""

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

POLLIN = 1  # zmq.POLLIN: messages that have come
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
    """Return what is called with each message: it handles those for the widget, and passes on all others."""

    def take(frames: Frames) -> Any:
        identities, parts = kernel.session.feed_identities(frames, copy=False)
        if not _is_for_comm(parts, model_id):
            return original(frames)
        kernel.comm_manager.comm_msg(stream, identities, kernel.session.deserialize(parts, copy=False))
        return None

    return take


def _is_for_comm(parts: Frames, comm_id: str) -> bool:
    """Is this a message to the comm? ``parts``: signature, header, parent, metadata, content."""
    if len(parts) < 5:
        return False
    header, content = (json.loads(bytes(parts[number].bytes)) for number in (1, 4))
    return bool(header.get("msg_type") == "comm_msg" and content.get("comm_id") == comm_id)
