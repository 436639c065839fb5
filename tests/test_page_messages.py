"""A real kernel, asked as a page asks it: Stop is heard while a cell waits, and nothing else changes its order."""

import pytest
from jupyter_client.manager import start_new_kernel

MAKE = """
import time, etabli_widgets
from etabli.runs.page_messages import handle_messages
order = []
monitor = etabli_widgets.RunMonitor(stop=lambda: order.append("stop"))
other = etabli_widgets.RunMonitor(stop=lambda: order.append("other"))
def wait(seconds):
    end = time.monotonic() + seconds
    while "stop" not in order and time.monotonic() < end:
        handle_messages(monitor.model_id)
        time.sleep(0.05)
    order.append("waited")
"""


@pytest.fixture
def client():
    manager, started = start_new_kernel(kernel_name="python3")
    yield started
    started.stop_channels()
    manager.shutdown_kernel(now=True)


def answer(client, code):
    """Run code and return the text of its value."""
    reply = client.execute_interactive(code, timeout=60, user_expressions={"value": "order"}, silent=False)
    assert reply["content"]["status"] == "ok", reply["content"]
    return reply["content"]["user_expressions"]["value"]["data"]["text/plain"]


def model_ids(client):
    content = client.execute_interactive(
        "pass", timeout=60, user_expressions={"ids": "[monitor.model_id, other.model_id]"}
    )["content"]
    return content["user_expressions"]["ids"]["data"]["text/plain"].strip("[]").replace("'", "").split(", ")


def press_stop(client, comm_id):
    """Send what the Stop button sends."""
    data = {"method": "custom", "content": {"type": "stop"}}
    client.shell_channel.send(client.session.msg("comm_msg", {"comm_id": comm_id, "data": data}))


def test_stop_is_heard_while_a_cell_waits_and_other_cells_keep_their_order(client):
    client.execute_interactive(MAKE, timeout=60)
    monitor, other = model_ids(client)
    client.execute("wait(30)")
    client.execute("order.append('second cell')")
    press_stop(client, other)
    press_stop(client, monitor)
    client.execute("order.append('third cell')")
    assert answer(client, "pass") == "['stop', 'waited', 'second cell', 'other', 'third cell']"


@pytest.mark.parametrize("question", ["kernel_info", "comm_info"])
def test_a_page_that_is_loaded_again_is_answered_while_a_cell_waits(client, question):
    client.execute_interactive(MAKE, timeout=60)
    monitor, _ = model_ids(client)
    waiting = client.execute("wait(30)")
    while client.get_iopub_msg(timeout=10)["msg_type"] != "execute_input":
        pass
    asked = getattr(client, question)()
    reply = client.get_shell_msg(timeout=20)
    assert reply["parent_header"]["msg_id"] == asked and reply["content"]["status"] == "ok"
    states = []
    while "idle" not in states:
        message = client.get_iopub_msg(timeout=10)
        if message["parent_header"].get("msg_id") == asked and message["msg_type"] == "status":
            states.append(message["content"]["execution_state"])
    assert states == ["busy", "idle"]
    press_stop(client, monitor)
    assert client.get_shell_msg(timeout=20)["parent_header"]["msg_id"] == waiting


def test_a_cell_that_fails_still_ends_the_cells_after_it(client):
    """Messages that were taken off and passed on are still aborted by an error, as without us."""
    client.execute_interactive(MAKE, timeout=60)
    client.execute("wait(1); 1 / 0")
    client.execute("order.append('never')")
    assert [client.get_shell_msg(timeout=30)["content"]["status"] for _ in range(2)] == ["error", "aborted"]
    for _ in range(100):  # ipykernel 7 goes on aborting until a message to itself has come through its other thread
        if client.execute_interactive("pass", timeout=60)["content"]["status"] == "ok":
            break
    assert answer(client, "pass") == "['waited']"


def test_without_a_kernel_nothing_happens():
    from etabli.runs.page_messages import handle_messages

    handle_messages("no such widget")
