"""Makers: each asks a teacher and yields what came of it: rows, accepted or rejected with a reason."""

import datetime
import json
import random
import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass

from etabli.core.contracts import Message, Reason, Row
from etabli.curation.texts import last_question, split_words
from etabli.data.licences import terms_of
from etabli.data.questions import question, truth
from etabli.synthesis.asking import Asker
from etabli.synthesis.novelty import Pool
from etabli.synthesis.recipe import SynthRecipe
from etabli.synthesis.teachers import Reply, Request

Verify = Callable[[str, Row], str]
NEW_ROWS = 3  # that one prompt of self-instruct asks for
BARREN_ROUNDS = 10  # of self-instruct, without a new row, after which a job ends
FEWEST_WORDS, MOST_WORDS = 3, 150  # of a new question; Self-Instruct's and Alpaca's bounds
PAIR = re.compile(r"Question:\s*(.*?)\s*\n\s*Answer:\s*(.*?)\s*(?=\n\s*(?:\d+\.\s*)?Question:|\Z)", re.DOTALL)
PROMPT = (
    "Below are questions, each with its answer. Write {count} new questions with their answers in the same form and "
    "language. They must differ from these and from each other in what they ask and in how they begin. Write nothing "
    "else.\n\n{examples}"
)


@dataclass(frozen=True)
class Outcome:
    """A row of which it is known whether it is accepted: ``reason`` is None if it is."""

    row: Row
    reason: Reason | None


@dataclass
class Job:
    """What every maker gets."""

    recipe: SynthRecipe
    seeds: Sequence[Row]
    asker: Asker
    verify: Verify

    def request(self, messages: Sequence[Message], sample: int = 0) -> Request:
        """Return a request with the recipe's settings."""
        teacher = self.recipe.teacher
        schema = None if teacher.json_schema is None else json.dumps(teacher.json_schema, sort_keys=True)
        plain = tuple((turn["role"], turn["content"]) for turn in messages)
        return Request(plain, teacher.max_tokens, teacher.temperature, schema, sample, self.recipe.seed)

    def make_row(self, messages: Sequence[Message], parents: Sequence[Row], request: Request, number: int = 0) -> Row:
        """Return a row with its ancestry: parents, generator, depth, and the hash of the request that made it."""
        name, key = self.asker.teacher.name, request.key(self.asker.teacher.name)
        first = parents[0]
        row: Row = {
            "id": f"made-{key[:16]}" + (f"-{number}" if number else ""),
            "messages": list(messages),
            "lang": first.get("lang"),
            "source": f"{self.recipe.maker} from {first.get('source') or 'seeds'}",
            "licence": self.recipe.licence,
            "terms": self._terms(parents),
            "parents": [parent["id"] for parent in parents],
            "generator": name,
            "created": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "columns": {"request": key, "depth": 1 + max(map(depth_of, parents)), "seed": self.recipe.seed},
        }
        if template := first.get("template"):
            row["template"] = template
        return row

    def _terms(self, parents: Sequence[Row]) -> str | None:
        """Return what the teacher's maker and the parents' terms say, each once."""
        teacher_terms = self.recipe.terms or terms_of(self.asker.teacher.name)
        texts = dict.fromkeys(
            str(text) for text in (teacher_terms, *(parent.get("terms") for parent in parents)) if text
        )
        return "; ".join(texts) or None

    def judge(self, row: Row, reply: Reply, seed: Row) -> Outcome:
        """Return a row as accepted or rejected by its reply and the verifier."""
        why = f"The teacher's reply: {reply.fault}." if reply.fault else ""
        if why:
            return Outcome(row, _reason("reply", why))
        objection = self.verify(truth(row), seed)
        return Outcome(row, _reason("verifier", f"{objection}.") if objection else None)


def depth_of(row: Row) -> int:
    """Return how many times models have made a row from others': 0 for a seed that no model made."""
    depth = (row.get("columns") or {}).get("depth")
    return depth if isinstance(depth, int) else 0


def _reason(name: str, why: str, value: float | None = None, like: str | None = None) -> Reason:
    return {"filter": name, "why": why, "value": value, "like": like, "rejects": True}


def _question_for_teacher(recipe: SynthRecipe, seed: Row) -> list[Message]:
    """Return a seed's question, with the recipe's system text in place of its own."""
    turns = question(seed)
    if recipe.system is None:
        return turns
    return [Message(role="system", content=recipe.system), *(turn for turn in turns if turn["role"] != "system")]


async def distil(job: Job) -> AsyncIterator[Outcome]:
    """Answer each seed's question once."""
    groups = _by_request(job, range(1))
    async for request, reply in job.asker.ask_all(groups):
        yield _answer_row(job, request, reply, groups[request])


def _by_request(job: Job, samples: Iterable[int]) -> dict[Request, list[Row]]:
    """Return the requests with their seeds: seeds with one question are asked once, and are all parents of the row."""
    groups: dict[Request, list[Row]] = {}
    for seed in job.seeds:
        for number in samples:
            groups.setdefault(job.request(_question_for_teacher(job.recipe, seed), number), []).append(seed)
    return groups


def _answer_row(job: Job, request: Request, reply: Reply, seeds: Sequence[Row]) -> Outcome:
    answer = Message(role="assistant", content=reply.text)
    return job.judge(job.make_row([*question(seeds[0]), answer], seeds, request), reply, seeds[0])


async def sample(job: Job) -> AsyncIterator[Outcome]:
    """Answer each seed's question ``samples`` times, and keep the first answer that the verifier accepts.

    How many of the answers it accepted stands in the row's columns.
    """
    groups = _by_request(job, range(job.recipe.samples))
    outcomes_of: dict[str, list[tuple[int, Outcome]]] = {}
    async for request, reply in job.asker.ask_all(groups):
        outcomes = outcomes_of.setdefault(groups[request][0]["id"], [])
        outcomes.append((request.sample, _answer_row(job, request, reply, groups[request])))
        if len(outcomes) == job.recipe.samples:
            yield _choose(outcomes)
    for outcomes in outcomes_of.values():
        if len(outcomes) < job.recipe.samples:  # the budget ended
            yield _choose(outcomes)


def _choose(outcomes: list[tuple[int, Outcome]]) -> Outcome:
    in_order = [outcome for _, outcome in sorted(outcomes, key=lambda pair: pair[0])]
    accepted = [outcome for outcome in in_order if outcome.reason is None]
    chosen = (accepted or in_order)[0]
    columns = {**chosen.row.get("columns", {}), "samples": len(outcomes), "accepted_samples": len(accepted)}
    row: Row = {**chosen.row, "columns": columns}
    return Outcome(row, chosen.reason)


async def self_instruct(job: Job) -> AsyncIterator[Outcome]:
    """Make new questions with answers like the seeds', as Self-Instruct (arXiv 2212.10560) and Alpaca do.

    Each prompt shows some rows, two of three of them seeds and the others accepted ones. A round's prompts are drawn
    from what the rounds before it accepted: a job that goes on after a kill asks the same, and pays nothing twice.
    """
    recipe, chance = job.recipe, random.Random(job.recipe.seed)
    wanted_count, pool = recipe.count or len(job.seeds), Pool(recipe.rouge)
    for seed in job.seeds:
        pool.add(seed["id"], last_question(seed))
    accepted_rows: list[Row] = []
    barren_rounds = 0
    while len(accepted_rows) < wanted_count and not job.asker.stopped:
        example_sets = [_draw(job, chance, accepted_rows) for _ in range(recipe.concurrency)]
        requests = {job.request(_instruction(rows), number): rows for number, rows in enumerate(example_sets)}
        replies = {request: reply async for request, reply in job.asker.ask_all(requests)}
        count_before = len(accepted_rows)
        for request, rows in requests.items():
            if request in replies and len(accepted_rows) < wanted_count:
                for outcome in _read_pairs(job, request, replies[request], rows, pool):
                    accepted_rows += [outcome.row] if outcome.reason is None else []
                    yield outcome
        barren_rounds = 0 if len(accepted_rows) > count_before else barren_rounds + 1
        if barren_rounds == BARREN_ROUNDS:
            job.asker.stopped = job.asker.stopped or f"{BARREN_ROUNDS} rounds without a new row"


def _draw(job: Job, chance: random.Random, accepted_rows: Sequence[Row]) -> list[Row]:
    count = min(job.recipe.demonstrations, len(job.seeds) + len(accepted_rows))
    made_count = min(len(accepted_rows), count // 3)
    return [
        *chance.sample(job.seeds, min(count - made_count, len(job.seeds))),
        *chance.sample(accepted_rows, made_count),
    ]


def _instruction(rows: Sequence[Row]) -> list[Message]:
    examples = "\n\n".join(f"Question: {last_question(row)}\nAnswer: {truth(row)}" for row in rows)
    return [Message(role="user", content=PROMPT.format(count=NEW_ROWS, examples=examples))]


def _read_pairs(job: Job, request: Request, reply: Reply, examples: Sequence[Row], pool: Pool) -> list[Outcome]:
    """Return the rows of a reply; a question that is accepted goes into the pool."""
    system = [turn for turn in question(examples[0]) if turn["role"] == "system"]
    pairs = [] if reply.fault else PAIR.findall(reply.text)
    if not pairs:
        why = f"The teacher's reply: {reply.fault}." if reply.fault else "No question with an answer in the reply."
        turns = [*system, Message(role="user", content=""), Message(role="assistant", content=reply.text)]
        return [Outcome(job.make_row(turns, examples, request), _reason("reply", why))]
    outcomes = []
    for number, (new_question, answer) in enumerate(pairs):
        turns = [*system, Message(role="user", content=new_question), Message(role="assistant", content=answer)]
        row = job.make_row(turns, examples, request, number)
        reason = _novelty_reason(new_question, answer, pool)
        outcomes.append(Outcome(row, reason) if reason else job.judge(row, reply, examples[0]))
        if outcomes[-1].reason is None:
            pool.add(row["id"], new_question)
    return outcomes


def _novelty_reason(new_question: str, answer: str, pool: Pool) -> Reason | None:
    size = len(split_words(new_question))
    if not FEWEST_WORDS <= size <= MOST_WORDS:
        return _reason("length", f"The question has {size} words; {FEWEST_WORDS} to {MOST_WORDS} are accepted.", size)
    if not answer.strip():
        return _reason("reply", "The answer is empty.")
    if near := pool.nearest(new_question):
        return _reason("near", f"The question is like {near[0]} (ROUGE-L {near[1]:.2f}).", near[1], near[0])
    return None


MAKERS: dict[str, Callable[[Job], AsyncIterator[Outcome]]] = {
    "distil": distil,
    "sample": sample,
    "self-instruct": self_instruct,
}
