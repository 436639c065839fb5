"""Shapes of secrets, and where a person's own code, arguments and environment can put them."""

import json
import random
import shutil
import string
from collections.abc import Iterator
from pathlib import Path

from strangers import commands, home
from strangers.watch import Job, Step

_ALL = string.ascii_letters + string.digits
_HEX = "0123456789abcdef"


def _letters(seed: str, count: int, kind: str = _ALL) -> str:
    dice = random.Random(seed)
    return "".join(dice.choice(kind) for _ in range(count))


def _word(seed: str, count: int) -> str:
    return _letters(seed, count, string.ascii_lowercase)


# Put together here, so that none of them stands in this file: name -> (what must not be seen, what surrounds it).
_SHAPES: dict[str, tuple[str, str]] = {
    "AWS id": ("AK" + "IA" + _letters("a", 16, string.ascii_uppercase + "234567"), "{}"),
    "AWS secret": (_letters("b", 40, _ALL + "/+"), "aws_secret_access_key = {}"),
    "AWS session": ("Fwo" + "GZXIvYXdzE" + _letters("c", 80), "AWS_SESSION_TOKEN={}"),
    "GitHub": ("gh" + "p_" + _letters("d", 36), "{}"),
    "GitHub fine-grained": ("github" + "_pat_" + _letters("e", 22) + "_" + _letters("f", 59), "{}"),
    "GitLab": ("gl" + "pat-" + _letters("g", 20), "{}"),
    "Hugging Face": ("h" + "f_" + _letters("h", 34, string.ascii_letters), "{}"),
    "Anthropic": ("sk" + "-ant-api03-" + _letters("i", 80), "{}"),
    "OpenAI": ("sk" + "-proj-" + _letters("j", 60), "{}"),
    "OpenAI, old": ("sk" + "-" + _letters("k", 48), "{}"),
    "Google key": ("AI" + "za" + _letters("l", 35), "{}"),
    "Google token": ("ya" + "29." + _letters("m", 60), "{}"),
    "Slack": ("xo" + "xb-" + _letters("n", 11, string.digits) + "-" + _letters("o", 24), "{}"),
    "Slack webhook": (
        "T" + _letters("p", 8) + "/B" + _letters("q", 8) + "/" + _letters("r", 24),
        "https://hooks.slack.com/services/{}",
    ),
    "Stripe": ("sk" + "_live_" + _letters("s", 24), "{}"),
    "npm": ("np" + "m_" + _letters("t", 36), "{}"),
    "PyPI": ("py" + "pi-AgEIcHlwaS5vcmc" + _letters("u", 60), "{}"),
    "SendGrid": ("S" + "G." + _letters("v", 22) + "." + _letters("w", 43), "{}"),
    "Telegram": (_letters("x", 9, "123456789") + ":AA" + _letters("y", 33), "{}"),
    "JWT": ("ey" + "J" + _letters("z", 30) + ".eyJ" + _letters("A", 40) + "." + _letters("B", 40), "{}"),
    "address with a password": (_word("C", 14), "https://someone:{}@example.org/x"),
    "W&B, old": (_letters("D", 40, _HEX), "WANDB_API_KEY={}"),
    "W&B, new": ("wandb" + "_v1_" + _letters("E", 60), "{}"),
    "Kaggle file": (_letters("F", 32, _HEX), '{{"username":"ann","key":"{}"}}'),
    "Kaggle token": ("KG" + "AT_" + _letters("G", 32, _HEX), "{}"),
    "Mistral": (_letters("H", 32), "MISTRAL_API_KEY={}"),
    "Azure": (_letters("I", 86, _ALL + "+/") + "==", "DefaultEndpointsProtocol=https;AccountKey={};"),
    "password without digits": (_word("J", 16), "password={}"),
    "password in JSON": (_word("K", 16), '{{"db_password": "{}"}}'),
    "Groq": ("gs" + "k_" + _letters("L", 52), "{}"),
    "Replicate": ("r8" + "_" + _letters("M", 37), "{}"),
    "xAI": ("xa" + "i-" + _letters("N", 80), "{}"),
    "bearer": (_letters("O", 40), "Authorization: Bearer {}"),
    "basic": (_letters("P", 40) + "==", "Authorization: Basic {}"),
    "private key": (
        _letters("Q", 64),
        "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE\n{}\n-----END RSA " + "PRIVATE KEY-----",
    ),
}
# What no shape tells: known by what the environment holds under such a name alone.
_VALUES = {
    "ACME_TOKEN": _word("v1", 12) + "-" + _word("v2", 12),
    "ACME_KEY": _letters("v3", 24),
    "ACME_SECRET": f"{_word('v4', 8)} {_word('v5', 8)} {_word('v6', 8)}",
    "ACME_PASSWORD": _word("v7", 6) + "&'\"<" + _word("v8", 8),
    "ACME_CREDENTIALS": "é" + _word("v9", 16) + "ü",
    "ACME_API_KEY_FILE_PASSWORD": _letters("va", 12, string.digits),
}


def planted() -> dict[str, tuple[str, str]]:
    """Every secret by its name: what must not be seen, and the text that holds it."""
    shapes = {name: (secret, around.format(secret)) for name, (secret, around) in _SHAPES.items()}
    values = {f"value of {name}": (value, f"it is {value} here") for name, value in _VALUES.items()}
    return shapes | values


def needles() -> dict[str, str]:
    """What must not be seen, by name; what JSON and HTML make of it, too."""
    forms: dict[str, str] = {}
    for name, (secret, _) in planted().items():
        forms[name] = secret
        for kind, form in (
            ("JSON", json.dumps(secret)[1:-1]),
            ("JSON, unicode", json.dumps(secret, ensure_ascii=False)[1:-1]),
        ):
            if form != secret:
                forms[f"{name} as {kind}"] = form
    return forms


def environment() -> dict[str, str]:
    """Variables that hold the secrets without a shape."""
    return dict(_VALUES)


# Code of the person's own: nobody's but hers, so it may run; what it lets slip must not be seen.
_OWN = """import json, pathlib, sys
import etabli
TEXTS = json.loads(pathlib.Path({texts!r}).read_text())
def _score(text):
    def score(answer, truth):
        raise RuntimeError(text)
    return score
def _check(text):
    def check(row):
        raise RuntimeError(text)
    return check
for number, text in enumerate(TEXTS):
    _made = _score(text)
    _made.__name__ = f"score{{number}}"
    globals()[_made.__name__] = _made
    _made = _check(text)
    _made.__name__ = f"check{{number}}"
    globals()[_made.__name__] = etabli.own_check(_made)
del _made
"""
_CALLBACKS = """import json, pathlib, sys
TEXTS = json.loads(pathlib.Path({texts!r}).read_text())
def on_step(event):
    for text in TEXTS:
        print(text)
        print(text, file=sys.stderr)
        sys.stdout.write(text[: len(text) // 2])
        sys.stdout.flush()
        sys.stdout.write(text[len(text) // 2 :])
        sys.stdout.flush()
        print()
    if event["step"] == 2:
        raise RuntimeError(" | ".join(TEXTS))
"""


def jobs(stranger: Path, cache: Path, place: Path) -> Iterator[Job]:
    """One job a place where secrets can come from."""
    makers = {
        "a score that raises": _scores,
        "a check that raises": _checks,
        "arguments": _arguments,
        "a callback": _callbacks,
        "what a run says": _told,
        "answers kept": _kept,
    }
    for number, (name, steps) in enumerate(makers.items()):
        folder = home.job_folder(stranger, cache, place / f"secrets-{number}")
        mine = folder / "mine"
        mine.mkdir()
        (mine / "texts.json").write_text(json.dumps([text for _, text in planted().values()]))
        for file, code in (("own.py", _OWN), ("callbacks.py", _CALLBACKS)):
            (mine / file).write_text(code.format(texts=str(mine / "texts.json")))
        planned = steps(folder)
        home.settled(folder)
        yield Job(name, str(folder), planned, deadline=300, secrets=needles(), variables=environment())


def _scores(folder: Path) -> list[Step]:
    home, own = folder / "home", folder / "mine" / "own.py"
    words = f"evaluate {home}/run --from-log --score {own} --html {folder}/out/verdict.html".split()
    live = f"evaluate {home}/run --limit 1 --max-new-tokens 4 --score {own} --arm base --arm tuned".split()
    return [
        Step("evaluate --from-log", words),
        Step("evaluate --from-log --json", [*words, "--json"]),
        Step("evaluate", live),
        Step("evaluate --from-log", [*words[:3], "--html", f"{folder}/out/again.html"]),
        commands.step("widgets", folder),
    ]


def _checks(folder: Path) -> list[Step]:
    words = f"data check {folder}/home/rows.jsonl --workers 1 --rules {folder}/mine/own.py".split()
    return [
        Step("data check", [*words, "--csv", f"{folder}/out/findings.csv"]),
        Step("data check --json", [*words, "--json"]),
    ]


def _arguments(folder: Path) -> list[Step]:
    heads = (["train"], ["evaluate"], ["resume"], ["memory"], ["data", "check"], ["data", "tokens"], ["arena"], [])
    return [
        Step(" ".join([*head, *flags]) or "etabli", [*head, text, *flags])
        for _, text in planted().values()
        for head in heads
        for flags in ([], ["--debug"])
    ]


def _callbacks(folder: Path) -> list[Step]:
    recipe = folder / "mine" / "recipe.yaml"
    keys = {
        "model": str(folder / "home" / "model"),
        "data": str(folder / "home" / "data"),
        "max_steps": 3,
        "threads": 1,
        "max_length": 128,
        "callbacks": str(folder / "mine" / "callbacks.py"),
    }
    recipe.write_text(json.dumps(keys))
    return [Step("train", ["train", str(recipe), "--run", f"{folder}/out/trained"])]


def _told(folder: Path) -> list[Step]:
    run = folder / "home" / "run"
    texts = [text for _, text in planted().values()]
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    lines[-1:] = [{"kind": "warning", "t": 1.0, "what": text} for text in texts]
    lines += [{"kind": "end", "t": 2.0, "state": "failed", "why": " | ".join(texts)}]
    (run / "events.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (run / "log.txt").write_text("\n".join(texts))
    results = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps(results | {"warnings": texts}))
    shutil.copytree(run, folder / "planted" / "home" / "run")  # what a command adds must not hold them again
    names = ("runs", "film", "evaluate --from-log", "evaluate --from-log --json", "widgets", "report", "resume")
    return [commands.step(name, folder) for name in names]


def _kept(folder: Path) -> list[Step]:
    recipe = folder / "mine" / "bad.yaml"
    texts = {f"key{number}": text for number, (_, text) in enumerate(planted().values())}
    recipe.write_text(json.dumps({"data": "x", **texts}))
    return [
        Step("train", ["train", str(recipe)]),
        Step("data rows", ["data", "rows", str(recipe)]),
        Step("train --debug", ["train", str(recipe), "--debug"]),
    ]
