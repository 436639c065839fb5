"""Ask a teacher many requests at the same time, each once, and stop where the budget ends."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from etabli.core.errors import EtabliError
from etabli.synthesis.recipe import Budget, Prices
from etabli.synthesis.request_log import RequestLog
from etabli.synthesis.teachers import Reply, Request, Teacher

TRIES = 3  # of a request whose reply was no answer


@dataclass
class Asker:
    """A teacher with its log, its budget and its prices. ``stopped`` says which limit ended the job, if one did."""

    teacher: Teacher
    log: RequestLog
    budget: Budget
    prices: Prices
    concurrency: int
    stopped: str = ""
    asked: int = 0  # requests of this process
    _began: float = field(default_factory=time.monotonic)

    def cost(self) -> float:
        """Return what all replies cost so far, in the prices' currency."""
        log = self.log
        return (log.prompt_tokens * self.prices.input + log.answer_tokens * self.prices.output) / 1e6

    def tokens(self) -> int:
        """Return the tokens of all replies so far, prompts included."""
        return self.log.prompt_tokens + self.log.answer_tokens

    def _limit(self) -> str:
        """Return the limit that is reached; empty if none is."""
        minutes = (time.monotonic() - self._began) / 60
        reached = {
            f"{self.budget.money} {self.prices.currency}": (self.budget.money, self.cost()),
            f"{self.budget.tokens} tokens": (self.budget.tokens, self.tokens()),
            f"{self.budget.minutes} minutes": (self.budget.minutes, minutes),
        }
        return next((name for name, (most, now) in reached.items() if most is not None and now >= most), "")

    async def ask(self, request: Request) -> Reply | None:
        """Return the reply to a request: the one that was kept, or a new one; None once the budget is reached."""
        key = request.key(self.teacher.name)
        reply = self.log.replies.get(key)
        if reply is not None and reply.is_final:
            return reply
        for _ in range(TRIES):
            if limit := self.stopped or self._limit():
                self.stopped = limit
                return reply
            self.asked += 1
            reply = await self.teacher.ask(request)
            await self.log.add(key, reply)
            if reply.is_final:
                break
        return reply

    async def ask_all(self, requests: Iterable[Request]) -> AsyncIterator[tuple[Request, Reply]]:
        """Yield every request with its reply, as they come; requests are drawn only as others end.

        Raises:
            EtabliError: the teacher can't answer at all; NoSpace: the disk is full. What came before is kept.
        """
        waiting: set[asyncio.Task[tuple[Request, Reply | None]]] = set()
        source = iter(requests)
        is_more = True
        try:
            while is_more or waiting:
                while is_more and not self.stopped and len(waiting) < self.concurrency:
                    request = next(source, None)
                    is_more = request is not None
                    if request is not None:
                        waiting.add(asyncio.create_task(self._ask_one(request)))
                is_more = is_more and not self.stopped
                if not waiting:
                    continue
                finished_tasks, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in finished_tasks:
                    request, reply = task.result()
                    if reply is not None:
                        yield request, reply
        finally:
            await _end(waiting)

    async def _ask_one(self, request: Request) -> tuple[Request, Reply | None]:
        return request, await self.ask(request)


async def _end(tasks: set["asyncio.Task[tuple[Request, Reply | None]]"]) -> None:
    """Let requests that are on their way end and be kept: they are paid for. After an error the first one tells it."""
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, BaseException) and not isinstance(result, EtabliError | OSError):
            raise result
