"""Rows of conversations in a Dataset's Parquet files, and back: what is nested in many shapes is JSON there."""

import json
from pathlib import Path
from typing import Any

from etabli.core import parsing, storage
from etabli.core.contracts import DATASET as MANIFEST_NAME
from etabli.core.contracts import REJECTED, ROWS, Message, Row
from etabli.core.errors import Damaged

HOME_COMMANDS = "home-commands"  # the name of the embedded task's rows
_AS_JSON = ("tools", "columns", "reasons", "decision")  # whatever shape they have, in Parquet they are text


def read_folder(folder: Path) -> tuple[list[Row], list[Row], dict[str, Any]]:
    """The rows of a Dataset's folder, its rejected rows, and what its manifest holds.

    Raises:
        Damaged: a file is missing, or is not what the manifest says.
    """
    import pyarrow.parquet as pq

    facts = storage.verify(folder, MANIFEST_NAME)
    if ROWS not in facts["files"]:
        raise Damaged(f"{folder}: its {MANIFEST_NAME} does not name {ROWS}. Make the Dataset again.")
    names = [name for name in (ROWS, REJECTED) if name in facts["files"]]
    rows, *rejected = [[_row(item) for item in pq.read_table(folder / name).to_pylist()] for name in names]
    return rows, rejected[0] if rejected else [], facts


def write_rows(rows: list[Row], path: Path) -> None:
    """Write rows to a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    stored = [_stored(row) for row in rows]
    names = dict.fromkeys(name for row in stored for name in row)  # Arrow would take those of the first row alone
    pq.write_table(pa.Table.from_pylist([{name: row.get(name) for name in names} for row in stored]), path)


def _stored(row: Row) -> dict[str, Any]:
    plain = {name: value for name, value in row.items() if name not in _AS_JSON}
    packed = {name: json.dumps(row[name], default=str) for name in _AS_JSON if row.get(name)}
    return plain | packed | {"messages": [_flat(message) for message in row["messages"]]}


def _flat(message: Message) -> dict[str, Any]:
    flat = {"role": message["role"], "content": message["content"], "train": message.get("train")}
    flat |= {name: message[name] for name in ("name", "tool_call_id", "spans") if name in message}
    return flat | ({"tool_calls": json.dumps(message["tool_calls"])} if message.get("tool_calls") else {})


def _row(item: dict[str, Any]) -> Row:
    item["messages"] = [_message(message) for message in item["messages"]]
    held = {name: item.pop(name, None) for name in _AS_JSON}
    return item | {name: _unpacked(value, name) for name, value in held.items() if value}


def _message(flat: dict[str, Any]) -> Message:
    """What was not there is not there again."""
    kept = {name: value for name, value in flat.items() if value is not None or name in ("role", "content")}
    return kept | ({"tool_calls": _unpacked(kept["tool_calls"], "tool_calls")} if "tool_calls" in kept else {})


def _unpacked(text: str, name: str) -> Any:
    """A field that is kept as JSON."""
    return parsing.parse_json(text, f"The field {name}", lenient=True)
