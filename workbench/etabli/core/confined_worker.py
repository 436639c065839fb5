"""The script of the confined process. A stranger's chat template, pattern or JSON Schema runs only here.

It reads one JSON request a line and answers with one JSON line: ``{"values": [...]}`` or ``{"error": text}``, and
``took``, the seconds of processor time. Of etabli it imports only ``confined_tables``, and no torch; it writes no file
and may use ``MEMORY`` bytes. The system ends it when a request has used its processor time, whatever it is doing.
"""

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.parser import Parser
    from jsonschema.protocols import Validator


class _Request(TypedDict):
    """A line that the parent writes; ``limit`` is added here."""

    action: str
    subject: int
    text: NotRequired[str]  # of the subject, the first time
    seconds: float
    jobs: list[Any]
    common: NotRequired[dict[str, object]]  # variables of all templates
    limit: int  # characters of a rendered text


MEMORY, TABLE_MEMORY = 2**30, 2**31
# A rendered text may have LARGEST characters, and TIMES the characters of its request in addition.
LARGEST, TIMES = 2**21, 20
_TOO_MUCH = f"it needs more than {MEMORY // 2**20} MB of memory"
_ENDLESS = "it calls itself endlessly"
_SUBJECTS: dict[int, str] = {}  # templates, patterns and schemas; each is sent once


def main() -> None:
    """Answer requests until there are no more."""
    _limit()
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # other output must not stand between the replies
    for line in sys.stdin.buffer:
        replies.write(_reply(line) + b"\n")


def _limit() -> None:
    """Limit memory and forbid writing files where the system can (not on Windows; memory not on macOS)."""
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
        request["limit"] = LARGEST + TIMES * len(line)
        if "text" in request:
            _SUBJECTS[request["subject"]] = request["text"]
        values = _ACTIONS[request["action"]](_SUBJECTS[request["subject"]], request)
        reply = {"values": values}
        reply_line = json.dumps(reply | {"took": time.process_time() - began}).encode()
    except MemoryError:
        reply_line = _error(_TOO_MUCH, began)
    except RecursionError:
        reply_line = _error(_ENDLESS, began)
    except Exception as error:
        reply_line = _error(_brief(error), began)
    _start_timer(0)
    return reply_line


def _error(text: str, began: float) -> bytes:
    return json.dumps({"error": text, "took": time.process_time() - began}).encode()


def _brief(error: Exception) -> str:
    """Return an error as one line of at most 200 characters: the template may have written its text."""
    try:
        text = " ".join(str(error)[:1000].split())
    except Exception:  # str() of a stranger's error class may fail
        text = ""
    text = text or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"


def _start_timer(seconds: float) -> None:
    """Let the system end this process after this many seconds of processor time; 0 stops the timer."""
    import signal

    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)
        return
    import faulthandler  # on Windows: a thread in C ends the process after this many seconds

    faulthandler.cancel_dump_traceback_later()
    if seconds:
        faulthandler.dump_traceback_later(seconds, exit=True)


# --- chat templates --------------------------------------------------------------------------------------------------


def _render(text: str, request: _Request) -> list[str | dict[str, str]]:
    """Return the text of each conversation, or the error that the template raised."""
    template, common, limit = _compile(text), request["common"], request["limit"]
    values: list[str | dict[str, str]] = []
    for variables in request["jobs"]:
        try:
            values.append(_join_limited(template.generate(**common, **variables), limit))
        except MemoryError:
            values.append({"error": _TOO_MUCH})
        except RecursionError:
            values.append({"error": _ENDLESS})
        except Exception as error:
            values.append({"error": _brief(error)})
    return values


def _join_limited(chunks: Iterable[str], limit: int) -> str:
    """Join the chunks of a rendered text.

    Raises:
        ValueError: it has more than ``limit`` characters.
    """
    texts, length = [], 0
    for chunk in chunks:
        texts.append(chunk)
        length += len(chunk)
        if length > limit:
            raise ValueError(f"it writes more than {limit / 1e6:.0f} MB for one conversation")
    return "".join(texts)


@lru_cache(maxsize=4)
def _compile(text: str) -> "Template":
    """Return a template as transformers compiles it: the same sandbox, extensions, filters and names."""
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_generation(), loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {
        "raise_exception": _raise_exception,
        "strftime_now": lambda form: datetime.now().strftime(form),
        "dict": _TemplateDict(),
        "namespace": _safe_namespace(),
    }
    return environment.from_string(text)


def _generation() -> type:
    """Return Jinja's extension for ``{% generation %}``, which renders its content unchanged."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012  # jinja2 declares a plain set

        def parse(self, parser: "Parser") -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

        def _body(self, caller: Callable[[], str]) -> str:
            return caller()

    return Generation


def _raise_exception(message: str) -> None:
    import jinja2

    raise jinja2.TemplateError(message)


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter writes HTML escapes; a chat has none."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class _TemplateDict:
    """``dict`` for templates. It makes dictionaries but is not a class: a class leads to Python's internals."""

    def __call__(self, *args: Any, **kwargs: object) -> dict[object, object]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[object, object]:
        return dict.fromkeys(*args)


def _safe_namespace() -> type:
    """Return Jinja's namespace without names that begin with an underscore: they could reach Python's internals."""
    import jinja2

    class Namespace(jinja2.utils.Namespace):
        def __init__(*args: Any, **kwargs: object) -> None:
            self, attributes = args[0], dict(*args[1:], **kwargs)
            for name in attributes:
                _refuse_private(name)
            jinja2.utils.Namespace.__init__(self, attributes)

        def __setitem__(self, name: str, value: object) -> None:
            _refuse_private(name)
            super().__setitem__(name, value)

    def _refuse_private(name: object) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"names in a namespace may not begin with an underscore: {name!r}")

    return Namespace


# --- patterns, schemas and tables -----------------------------------------------------------------------------------


def _search(pattern: str, request: _Request) -> list[bool]:
    return [re.search(pattern, text) is not None for text in request["jobs"]]


def _follow(schema: str, request: _Request) -> list[bool]:
    return [_validator(schema).is_valid(value) for value in request["jobs"]]


@lru_cache(maxsize=4)
def _validator(schema: str) -> "Validator":
    import jsonschema

    content = json.loads(schema)
    return jsonschema.validators.validator_for(content, default=jsonschema.Draft202012Validator)(content)


def _measure(path: str, request: _Request) -> list[int]:
    """Return the rows of a table; see ``confined_tables.count_rows``."""
    (job,) = request["jobs"]
    _allow(TABLE_MEMORY)
    from etabli.core.confined_tables import count_rows  # pyarrow needs that memory

    return [count_rows(path, job["kind"], job["most"])]


_ACTIONS: dict[str, Callable[[str, _Request], Sequence[object]]] = {
    "render": _render,
    "search": _search,
    "follow": _follow,
    "measure": _measure,
}

if __name__ == "__main__":
    main()
