"""How fast are requests against a bare loop, and what does a thousand with faults and three kills cost?

    python benchmarks/synthesis.py --out benchmarks/results/synthesis.json

Both against our own endpoint on 127.0.0.1 (``tests/chaos_endpoint.py``), which answers after 20 ms. ``speed``: requests
a second of ``etabli.synth`` and of a loop over openai's own client with a semaphore, interleaved. ``chaos``: 1,000
requests, each of which meets a fault with a chance of 30 %, in a process that is killed three times.
"""

import argparse
import asyncio
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import etabli
from etabli.core import storage
from etabli.synthesis import teachers

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from chaos_endpoint import ChaosEndpoint

DELAY, AT_ONCE = 0.02, 16
CHILD = "import sys; from etabli.synthesis.synth import synth; synth(sys.argv[1], sys.argv[2])"


def write_job(place: Path, rows: int) -> Path:
    """Seeds and a recipe that distils them."""
    messages = [
        [{"role": "user", "content": f"Question {number}?"}, {"role": "assistant", "content": "?"}]
        for number in range(rows)
    ]
    etabli.Dataset([{"id": f"s{n}", "messages": turns} for n, turns in enumerate(messages)]).save(place / "seeds")
    file = place / "recipe.yaml"
    file.write_text(f"maker: distil\nseeds: {place / 'seeds'}\nconcurrency: {AT_ONCE}\nteacher: {{endpoint: m}}\n")
    return file


async def bare_loop(rows: int) -> None:
    """What anybody would write."""
    from openai import AsyncOpenAI

    client, free = AsyncOpenAI(), asyncio.Semaphore(AT_ONCE)

    async def ask(number: int) -> str:
        async with free:
            turns = [{"role": "user", "content": f"Question {number}?"}]
            answer = await client.chat.completions.create(model="m", messages=turns, max_tokens=512, temperature=0.7)
            return answer.choices[0].message.content

    await asyncio.gather(*(ask(number) for number in range(rows)))
    await client.close()


def measure_speed(rows: int, rounds: int) -> dict:
    """Requests a second of both, interleaved."""
    ours, bare = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as place, ChaosEndpoint(delay=DELAY) as endpoint:
            os.environ[teachers.ADDRESS] = endpoint.address
            file = write_job(Path(place), rows)
            start = time.monotonic()
            etabli.synth(file, Path(place) / "out")
            middle = time.monotonic()
            asyncio.run(bare_loop(rows))
            ours.append(rows / (middle - start))
            bare.append(rows / (time.monotonic() - middle))
    share = statistics.median(one / other for one, other in zip(ours, bare))
    return {"rows": rows, "ours_per_s": ours, "bare_per_s": bare, "share": share}


def survive_chaos(rows: int) -> dict:
    """A thousand requests with faults, killed three times and ended here."""
    with tempfile.TemporaryDirectory() as place, ChaosEndpoint(delay=DELAY, rate=0.3, seed=1) as endpoint:
        os.environ[teachers.ADDRESS] = endpoint.address
        file, out = write_job(Path(place), rows), Path(place) / "out"
        for share in (0.2, 0.5, 0.8):
            child = subprocess.Popen([sys.executable, "-c", CHILD, str(file), str(out)])
            while endpoint.requests < share * rows:
                time.sleep(0.01)
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        result = etabli.synth(file, out)
        accepted = etabli.Dataset.open(out / "dataset").rows
        return {
            "rows": rows,
            "accepted": result["accepted"],
            "rejected": result["rejected"],
            "accepted_once": len({row["parents"][0] for row in accepted}) == len(accepted),
            "requests_at_the_endpoint": endpoint.requests,
            "answers_paid_twice": len(endpoint.answered) - len(set(endpoint.answered)),
            "bill_of_the_endpoint": endpoint.paid,
            "bill_here": [result["prompt_tokens"], result["answer_tokens"]],
            "memory_grew_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before,
        }


def main() -> None:
    """Run both, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True)
    parser.add_argument("--rows", type=int, default=1000)
    arguments = parser.parse_args()
    os.environ[teachers.KEY] = "none"
    result = {"speed": measure_speed(arguments.rows, 3), "chaos": survive_chaos(arguments.rows)}
    storage.write_json(arguments.out, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
