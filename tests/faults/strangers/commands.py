"""What is run on a stranger's home: every command of ``etabli`` that reads one, and which files each reads."""

import json
from pathlib import Path

from strangers.watch import Step

# name: (words; {home} and {out} are filled in), the files it reads
CHEAP: dict[str, tuple[str, tuple[str, ...]]] = {
    "evaluate --from-log": (
        "evaluate {home}/run --from-log --html {out}/verdict.html",
        ("run/results.json", "run/recipe.yaml"),
    ),
    "evaluate --from-log --json": ("evaluate {home}/run --from-log --json", ("run/results.json",)),
    "arena --look": ("arena {home}/run --look", ("run/results.json", "run/votes/ann.jsonl")),
    "arena": ("arena {home}/run", ("run/results.json", "run/votes/ann.jsonl")),
    "arena answers": ("arena {home}/answers.jsonl --author bob", ("answers.jsonl",)),
    "votes pool": ("votes pool {home}/run/votes/ann.jsonl", ("run/votes/ann.jsonl",)),
    "votes pool --json": ("votes pool {home}/run/votes/ann.jsonl --json", ("run/votes/ann.jsonl",)),
    "chat": ("chat {home}/run", ("run/chat.jsonl", "run/recipe.yaml")),
    "chat --json": ("chat {home}/run --json", ("run/chat.jsonl",)),
    "token-diff": ("token-diff {home}/run", ("run/token_diff.json",)),
    "token-diff --json": ("token-diff {home}/run --json", ("run/token_diff.json",)),
    "film": ("film {home}/run", ("run/events.jsonl", "run/pins.jsonl", "run/process.json")),
    "film --json": ("film {home}/run --json", ("run/events.jsonl", "run/pins.jsonl")),
    "film --pin": ("film {home}/run --pin 2 --why because", ("run/events.jsonl", "run/pins.jsonl")),
    "runs": ("runs {home}", ("run/events.jsonl", "run/process.json", "run/recipe.yaml")),
    "runs --json": ("runs {home} --json", ("run/events.jsonl", "run/process.json")),
    "overlay": ("overlay {home}/run {home}/run2 --out {out}/overlay.html", ("run/events.jsonl",)),
    "export": (
        "export {home}/run --out {out}/export",
        ("run/adapter/adapter_config.json", "run/adapter/base.json", "run/adapter/MANIFEST.json", "run/recipe.yaml"),
    ),
    "data check": ("data check {home}/rows.jsonl --workers 1 --csv {out}/findings.csv", ("rows.jsonl",)),
    "data check --json": ("data check {home}/rows.jsonl --workers 1 --json", ("rows.jsonl",)),
    "data check csv": ("data check {home}/rows.csv --workers 1", ("rows.csv",)),
    "data check txt": ("data check {home}/rows.txt --workers 1", ("rows.txt",)),
    "data check md": ("data check {home}/rows.md --workers 1", ("rows.md",)),
    "data check mapping": ("data check {home}/dataset_info.json --workers 1", ("dataset_info.json", "alpaca.json")),
    "data check axolotl": ("data check {home}/axolotl.yaml --workers 1", ("axolotl.yaml",)),
    "data check --model": (
        "data check {home}/rows.jsonl --workers 1 --model {home}/model",
        ("model/config.json", "model/tokenizer_config.json"),
    ),
    "data tokens": (
        "data tokens {home}/rows.jsonl --model {home}/model",
        ("rows.jsonl", "model/tokenizer_config.json", "model/config.json"),
    ),
    "data rows": ("data rows {home}/curation.yaml", ("curation.yaml", "decisions.jsonl", "rows.jsonl")),
    "data prepare": (
        "data prepare {home}/curation.yaml --workers 1 --out {out}/prepared",
        ("curation.yaml", "decisions.jsonl"),
    ),
    "data decide": ("data decide {home}/curation.yaml {row} drop --why x --author ann", ("decisions.jsonl",)),
}
CALLS: dict[str, tuple[str, ...]] = {
    "widgets": ("run/results.json", "run/token_diff.json"),
    "report": (),
    "frames": ("curation.yaml",),
    "model_facts": ("model/README.md", "model/config.json"),
}
WITH_MODEL: dict[str, str] = {
    "evaluate": "evaluate {home}/run --limit 1 --max-new-tokens 4",
    "compare": "compare {home}/run {home}/run2 --limit 1 --max-new-tokens 4 --html {out}/compare.html",
    "chat PROMPT": "chat {home}/run hello --max-new-tokens 4",
    "arena --prompts": "arena {home}/run --prompts {home}/rows.txt",
    "token-diff --again": "token-diff {home}/run --again --limit 1",
    "export merged": "export {home}/run --to merged --out {out}/merged",
    "memory": "memory {home}/run",
    "memory MODEL": "memory {home}/model --seq 64",
    "data tokens --loss": "data tokens {home}/rows.jsonl --model {home}/model --loss",
    "train": "train {home}/run/recipe.yaml --run {out}/again",
    "lr-range": "lr-range {home}/run/recipe.yaml --steps 10 --out {out}/range",
    "resume": "resume {home}/run",
    "ablate": "data ablate {home}/curation.yaml --train {home}/run/recipe.yaml --out {out}/ablated --steps 1 --limit 1 "
    "--arm unfiltered",
}
VOTES = "1\n2\nt\nx\nq\n"


def step(name: str, folder: Path) -> Step:
    """A command or call by its name."""
    if name in CALLS:
        return Step(name, call=name)
    words = CHEAP[name][0] if name in CHEAP else WITH_MODEL[name]
    home, out = str(folder / "home"), str(folder / "out")
    row = json.loads((folder / "pristine" / "decisions.jsonl").read_text().splitlines()[0])["row"]
    filled = [word.format(home=home, out=out, row=row) for word in words.split()]
    return Step(name, filled, stdin=VOTES)


def readers(name: str) -> list[str]:
    """The cheap commands and calls that read a file of the home."""
    commands = [command for command, (_, files) in CHEAP.items() if name in files]
    return [*commands, *(call for call, files in CALLS.items() if name in files)]


def files() -> list[str]:
    """Every file that a cheap command reads, once."""
    every = [name for _, reads in CHEAP.values() for name in reads] + [
        name for reads in CALLS.values() for name in reads
    ]
    return list(dict.fromkeys(every))
