"""Write rows of conversations to a Dataset's Parquet files and read them; fields of changing shape are JSON there."""

import json
from pathlib import Path
from typing import Any, cast

from etabli.core import parsing, storage
from etabli.core.contracts import DATASET as MANIFEST_NAME
from etabli.core.contracts import REJECTED_ROWS, ROWS, Message, Row
from etabli.core.errors import Damaged
from etabli.data.splits import split_name

HOME_COMMANDS = "home-commands"  # the name of the embedded task's rows
_AS_JSON = ("tools", "columns", "reasons", "decision")  # stored as text
_MESSAGE_FIELDS = ("name", "tool_call_id", "reasoning", "train_spans", "spans")  # stored where a message has them


def read_folder(folder: Path) -> tuple[list[Row], list[Row], dict[str, Any]]:
    """Return the rows of a Dataset's folder, its rejected rows, and the content of its manifest.

    Raises:
        Damaged: a file is missing, or is not what the manifest says.
    """
    import pyarrow.parquet as pq

    facts = storage.verify(folder, MANIFEST_NAME)
    if ROWS not in facts["files"]:
        raise Damaged(f"{folder}: its {MANIFEST_NAME} does not name {ROWS}. Make the Dataset again.")
    names = [name for name in (ROWS, REJECTED_ROWS) if name in facts["files"]]
    rows, *rejected_rows = [[_from_record(item) for item in pq.read_table(folder / name).to_pylist()] for name in names]
    return rows, rejected_rows[0] if rejected_rows else [], facts


def write_rows(rows: list[Row], path: Path) -> None:
    """Write rows to a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    records = [_to_record(row) for row in rows]
    names = dict.fromkeys(name for row in records for name in row)  # Arrow would take the first row's names only
    pq.write_table(pa.Table.from_pylist([{name: row.get(name) for name in names} for row in records]), path)


def _to_record(row: Row) -> dict[str, object]:
    fields = {name: value for name, value in row.items() if name not in _AS_JSON}
    json_fields = {name: json.dumps(value, default=str) for name, value in row.items() if name in _AS_JSON and value}
    return fields | json_fields | {"messages": [_message_record(message) for message in row["messages"]]}


def _message_record(message: Message) -> dict[str, object]:
    fields: dict[str, object] = {"role": message["role"], "content": message["content"], "train": message.get("train")}
    fields |= {name: value for name, value in message.items() if name in _MESSAGE_FIELDS}
    return fields | ({"tool_calls": json.dumps(message["tool_calls"])} if message.get("tool_calls") else {})


def _from_record(item: dict[str, Any]) -> Row:
    item["messages"] = [_from_message_record(message) for message in item["messages"]]
    json_fields = {name: item.pop(name, None) for name in _AS_JSON}
    row = item | {name: _parse_field(value, name) for name, value in json_fields.items() if value}
    if row.get("split"):  # older versions kept a file's spelling, such as Test
        row["split"] = split_name(row["split"]) or row["split"]
    return cast(Row, row)


def _from_message_record(flat: dict[str, Any]) -> Message:
    """Return a message from its Parquet form; fields without a value are left out."""
    fields = {name: value for name, value in flat.items() if value is not None or name in ("role", "content")}
    if "tool_calls" in fields:
        fields["tool_calls"] = _parse_field(fields["tool_calls"], "tool_calls")
    return cast(Message, fields)


def _parse_field(text: str, name: str) -> Any:
    """Return the value of a field that is stored as JSON."""
    return parsing.parse_json(text, f"The field {name}", lenient=True)
