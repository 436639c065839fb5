"""Every answer that was paid for, on the disk before it is used: after a kill nothing is asked twice."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from etabli.core import json_lines, storage
from etabli.core.errors import BadInput
from etabli.core.secrets import cover_secrets_in
from etabli.synthesis.teachers import Reply

FILE = "requests.jsonl"


class RequestLog:
    """``requests.jsonl``: one line a reply, by the request's hash. Replies that come together are written together."""

    def __init__(self, folder: Path):
        self._path = folder / FILE
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self.replies: dict[str, Reply] = {}  # the last of each request
        self.count = self.prompt_tokens = self.answer_tokens = 0  # of all replies, those with a fault too
        if self._path.exists():
            for line in json_lines.read_lines(self._path)[0]:
                self._keep(line)

    def _keep(self, line: Mapping[str, object]) -> None:
        key, text, fault = line.get("request"), line.get("text"), line.get("fault")
        sizes = line.get("prompt_tokens"), line.get("answer_tokens")
        prompt, answer = (size if isinstance(size, int) else -1 for size in sizes)
        if not (isinstance(key, str) and isinstance(text, str) and isinstance(fault, str)) or min(prompt, answer) < 0:
            raise BadInput(f"{self._path} holds a line that is no reply: look at it, or choose another --out.")
        self.count, self.prompt_tokens = self.count + 1, self.prompt_tokens + prompt
        self.answer_tokens += answer
        self.replies[key] = Reply(text, prompt, answer, fault)

    async def add(self, key: str, reply: Reply) -> None:
        """Write a reply; it is on the disk when this returns.

        Raises:
            NoSpace: the disk is full.
        """
        line = {"request": key, **asdict(reply)}
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((storage.to_json(cover_secrets_in(line, data=("text",))) + "\n", written))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await written
        self._keep(line)

    async def _write(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            lines = "".join(line for line, _ in waiting).encode("utf-8", "backslashreplace")
            try:
                await asyncio.to_thread(json_lines.append, self._path, lines)
            except Exception as error:
                for _, written in waiting:
                    written.set_exception(error)
                return
            for _, written in waiting:
                written.set_result(None)
