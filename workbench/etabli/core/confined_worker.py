"""The script of the confined process: a stranger's chat template, pattern or JSON Schema runs here and nowhere else.

It reads one JSON request a line and answers with one JSON line: ``{"values": [...]}`` or ``{"error": text}``, and
``took``, the seconds of processor time. It imports neither etabli nor torch, writes no file and may take ``MEMORY``
bytes. The system ends it when a request has taken its share of processor time, whatever it is doing.
"""

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

MEMORY, TABLE_MEMORY = 2**30, 2**31
# A rendering may have this many characters, and so many times those of what it is made of.
LARGEST, TIMES = 2**21, 20
_TOO_MUCH = f"it needs more than {MEMORY // 2**20} MB of memory"
_ENDLESS = "it calls itself without end"
_SUBJECTS: dict[int, str] = {}  # templates, patterns and schemas; each is sent once


def main() -> None:
    """Answer requests until there are no more."""
    _limit()
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever else prints must not stand between the replies
    for line in sys.stdin.buffer:
        replies.write(_reply(line) + b"\n")


def _limit() -> None:
    """Bound memory and forbid files, where the system can (not on Windows; memory not on macOS)."""
    _allow(MEMORY)
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _allow(memory: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, TABLE_MEMORY))


def _reply(line: bytes) -> bytes:
    began = time.process_time()
    try:
        request = json.loads(line)
        _start_timer(request["seconds"])
        request["most"] = LARGEST + TIMES * len(line)
        if "text" in request:
            _SUBJECTS[request["subject"]] = request["text"]
        values = _ACTIONS[request["action"]](_SUBJECTS[request["subject"]], request)
        reply = {"values": values}
        encoded = json.dumps(reply | {"took": time.process_time() - began}).encode()
    except MemoryError:
        encoded = _error(_TOO_MUCH, began)
    except RecursionError:
        encoded = _error(_ENDLESS, began)
    except Exception as error:
        encoded = _error(_brief(error), began)
    _start_timer(0)
    return encoded


def _error(text: str, began: float) -> bytes:
    return json.dumps({"error": text, "took": time.process_time() - began}).encode()


def _brief(error: Exception) -> str:
    """An error in one line of at most 200 characters: the text may be the template's own."""
    try:
        text = " ".join(str(error)[:1000].split())
    except Exception:  # an error of a stranger's own making
        text = ""
    text = text or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"


def _start_timer(seconds: float) -> None:
    """Have the system end this process after so much processor time; 0 stops the timer."""
    import signal

    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)
        return
    import faulthandler  # Windows: a thread of C that ends the process after so much time

    faulthandler.cancel_dump_traceback_later()
    if seconds:
        faulthandler.dump_traceback_later(seconds, exit=True)


# --- chat templates --------------------------------------------------------------------------------------------------


def _render(text: str, request: dict[str, Any]) -> list[str | dict[str, str]]:
    """The text of each conversation, or why the template refuses it."""
    template, common, most = _compiled(text), request["common"], request["most"]
    values: list[str | dict[str, str]] = []
    for variables in request["jobs"]:
        try:
            values.append(_bounded(template.generate(**common, **variables), most))
        except MemoryError:
            values.append({"error": _TOO_MUCH})
        except RecursionError:
            values.append({"error": _ENDLESS})
        except Exception as error:
            values.append({"error": _brief(error)})
    return values


def _bounded(chunks: Any, most: int) -> str:
    kept, length = [], 0
    for chunk in chunks:
        kept.append(chunk)
        length += len(chunk)
        if length > most:
            raise ValueError(f"it writes more than {most / 1e6:.0f} MB for one conversation")
    return "".join(kept)


@lru_cache(maxsize=4)
def _compiled(text: str) -> Any:
    """A template as transformers compiles it: the same sandbox, extensions, filters and names."""
    import jinja2
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_generation(), loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {
        "raise_exception": _raise_exception, "strftime_now": lambda form: datetime.now().strftime(form),
        "dict": _TemplateDict(), "namespace": _namespace(jinja2),
    }  # fmt: skip
    return environment.from_string(text)


def _generation() -> type:
    """Jinja's extension for ``{% generation %}``: what stands in it is rendered as it is."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = frozenset({"generation"})

        def parse(self, parser: Any) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

        def _body(self, caller: Callable[[], str]) -> str:
            return caller()

    return Generation


def _raise_exception(message: Any) -> None:
    import jinja2

    raise jinja2.TemplateError(message)


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """Jinja's own filter writes HTML escapes; a chat has none."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class _TemplateDict:
    """``dict`` for templates: it makes dictionaries and is no class to climb."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any, **kwargs: Any) -> dict:
        return dict.fromkeys(*args, **kwargs)


def _namespace(jinja2: Any) -> type:
    """Jinja's namespace without names that begin with an underscore, which could reach Python's own."""

    class Namespace(jinja2.utils.Namespace):
        def __init__(*args: Any, **kwargs: Any) -> None:
            self, attributes = args[0], dict(*args[1:], **kwargs)
            for name in attributes:
                _refuse_private(name)
            jinja2.utils.Namespace.__init__(self, attributes)

        def __setitem__(self, name: Any, value: Any) -> None:
            _refuse_private(name)
            super().__setitem__(name, value)

    def _refuse_private(name: Any) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"a namespace holds no name with an underscore before it: {name!r}")

    return Namespace


# --- patterns and schemas --------------------------------------------------------------------------------------------


def _search(pattern: str, request: dict[str, Any]) -> list[bool]:
    return [re.search(pattern, text) is not None for text in request["jobs"]]


def _follow(schema: str, request: dict[str, Any]) -> list[bool]:
    return [_validator(schema).is_valid(value) for value in request["jobs"]]


@lru_cache(maxsize=4)
def _validator(schema: str) -> Any:
    import jsonschema

    loaded = json.loads(schema)
    return jsonschema.validators.validator_for(loaded, default=jsonschema.Draft202012Validator)(loaded)


# --- tables ----------------------------------------------------------------------------------------------------------


def texts_of(schema: Any) -> list[str]:
    """The paths of a Parquet schema's texts. Read as dictionaries, a value that stands in every row is there once."""
    columns = [schema.column(number) for number in range(len(schema))]
    return [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]


def _measure(path: str, request: dict[str, Any]) -> list[int]:
    """Decode a table and keep nothing; its rows."""
    (job,) = request["jobs"]
    _allow(TABLE_MEMORY)
    return [_rows_within(path, job["kind"], job["most"])]


def _rows_within(path: str, kind: str, most: dict[str, int]) -> int:
    rows = size = 0
    if kind == "parquet":
        _require_within(*_promised(path), most)
    for batch in _record_batches(path, kind):
        batch.validate(full=True)  # offsets that point outside their buffer would end the process
        rows += batch.num_rows
        size += sum(map(_expanded, batch.columns))
        _require_within(rows, size, most)
    return rows


def _promised(path: str) -> tuple[int, int]:
    """Rows and bytes, as the file's own last page says: soon read, and not to be believed."""
    import pyarrow.parquet as pq

    metadata = pq.ParquetFile(path).metadata
    return metadata.num_rows, sum(metadata.row_group(at).total_byte_size for at in range(metadata.num_row_groups))


def _require_within(rows: int, size: int, most: dict[str, int]) -> None:
    if rows > most["rows"] or size > most["bytes"]:
        raise ValueError(f"out-of-proportion|it holds more than {most['rows']:,} rows or {most['bytes']:,} bytes")


def _record_batches(path: str, kind: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_cpu_count(1)  # the processor time of all threads counts
    if kind == "parquet":
        texts = texts_of(pq.ParquetFile(path).metadata.schema)
        return pq.ParquetFile(path, read_dictionary=texts, buffer_size=2**20).iter_batches(batch_size=64)
    if kind == "arrow":
        reader = pa.ipc.open_file(path)
        return (reader.get_batch(number) for number in range(reader.num_record_batches))
    return pa.ipc.open_stream(path)


def _expanded(column: Any) -> int:
    """The bytes of a column with every value written out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind, pointers = column.type, 8 * len(column)
    if pa.types.is_dictionary(kind):
        if not _is_text(kind.value_type):
            return _expanded(column.dictionary_decode())
        return pointers + (pc.sum(pc.take(pc.binary_length(column.dictionary), column.indices)).as_py() or 0)
    if str(kind) in ("string_view", "binary_view"):  # many of them may be views of the same bytes
        return _expanded(column.cast(pa.large_binary()))
    if pa.types.is_run_end_encoded(kind):
        return _expanded(pc.run_end_decode(column))
    if isinstance(kind, pa.BaseExtensionType):
        return _expanded(column.storage)
    if pa.types.is_map(kind):
        return pointers + _expanded(column.keys) + _expanded(column.items)
    if pa.types.is_nested(kind) and hasattr(column, "flatten"):
        inner = column.flatten()
        return pointers + sum(map(_expanded, inner if isinstance(inner, list) else [inner]))
    return max(column.nbytes, pointers, pc.sum(pc.binary_length(column)).as_py() or 0 if _is_text(kind) else 0)


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in tests)


_ACTIONS: dict[str, Callable[[str, dict[str, Any]], list]] = {
    "render": _render,
    "search": _search,
    "follow": _follow,
    "measure": _measure,
}

if __name__ == "__main__":
    main()
