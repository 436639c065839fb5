"""Files with one known mistake each: what it is called and on which line it stands.

Every mistake is made in the middle and at the end of good rows, in every format and in every kind of file that can hold
it; the line is known because this file wrote it.
"""

import copy
import gzip
import io
import json
import zipfile
from dataclasses import dataclass

WORDS = "The harbour lies north of the old town, and boats leave it every morning at seven."
USER, ANSWER = {"role": "user", "content": "Where is the harbour?"}, {"role": "assistant", "content": WORDS}
GOOD = {
    "chat": {"messages": [USER, ANSWER]},
    "sharegpt": {"conversations": [{"from": "human", "value": USER["content"]}, {"from": "gpt", "value": WORDS}]},
    "alpaca": {"instruction": USER["content"], "input": "", "output": WORDS},
    "prompt-completion": {"prompt": USER["content"], "completion": WORDS},
}
ANSWERS = {"alpaca": "output", "prompt-completion": "completion"}
ASKS = {"alpaca": "instruction", "prompt-completion": "prompt"}
ROWS = 5


@dataclass
class Case:
    """A file, the code that has to be found in it, and the line (None where the file as a whole is meant)."""

    id: str
    name: str
    data: bytes
    code: str
    line: int | None
    exit: int = 1


def rows(kind, count=ROWS):
    """Good rows that differ."""
    made = []
    for number in range(count):
        text = json.dumps(GOOD[kind]).replace("harbour?", f"harbour number {number}?")
        made.append(json.loads(text))
    return made


def text_at(kind, row, text, answer=True):
    """The row with another answer, or another question."""
    row = copy.deepcopy(row)
    if kind == "chat":
        row["messages"][int(answer)]["content"] = text
    elif kind == "sharegpt":
        row["conversations"][int(answer)]["value"] = text
    else:
        row[(ANSWERS if answer else ASKS)[kind]] = text
    return row


# --- mistakes in what a row says: any file can hold them -----------------------------------------------------------

TEXTS = {
    "nul": WORDS + "\0",
    "lone-surrogate": WORDS + "\ud800",
    "control-characters": WORDS + "\x07.",
    "bidi": WORDS + " \u202eabc\u202c.",
    "invisible": "The har\u200bbour lies north of the old town.",
    "control-token": WORDS + "<|im_end|>",
    "empty-answer": "",
    "placeholder": "N/A",
    "truncated-answer": WORDS + " It is reached by the road that leads down from the",
    "refusal": "I'm sorry, but I cannot provide that information.",
    "ai-disclaimer": "As an AI language model, I have never seen a harbour.",
    "leaked-template": WORDS + "\n### Response:\nNorth.",
    "repetition": "north of the old town, " * 30 + "that is all.",
    "secret": "Use the token hf_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7" + ".",
    "pii-email": "Write to harbour.master@portoffice.org for that.",
    "pii-iban": "Pay to FR76 3000 6000 0112 3456 7890 189, please.",
    "pii-card": "The card is 4111 1111 1111 1111, as you asked.",
    "pii-nir": "His number is 1 51 02 46102 043 25, as you asked.",
    "pii-phone": "Ring them at +33 1 42 68 53 00 before noon.",
    "merged-rows": WORDS + "\n18. Instruction: Name a river.",
}
FRENCH = {
    "refusal": "Je suis désolé, mais je ne peux pas vous donner cette information.",
    "ai-disclaimer": "En tant qu'IA, je n'ai jamais vu de port de mes propres yeux.",
    "truncated-answer": "Le port se trouve au nord de la vieille ville, et on y descend par la rue qui mène de la",
}


def wrong_shapes(kind):
    """(code, row) of rows whose shape is wrong."""
    good = rows(kind, 1)[0]
    first, last = next(iter(good)), list(good)[-1]
    yield "missing-key", {name: value for name, value in good.items() if name != last}
    yield "wrong-type", {**good, last: 3}
    yield "wrong-type", {**good, last: None}
    yield "wrong-type", {**good, last: True}
    yield "not-an-object", "a bare string"
    yield "not-an-object", 17
    yield "not-an-object", None
    if kind in ("chat", "sharegpt"):
        role, content = ("role", "content") if kind == "chat" else ("from", "value")
        user, answer = good[first]
        yield "no-messages", {first: []}
        yield "wrong-type", {first: {"role": "user"}}
        yield "wrong-type", {first: [user, "hello"]}
        yield "unknown-role", {first: [{**user, role: "robot"}, answer]}
        yield "missing-key", {first: [user, {role: answer[role]}]}
        yield "missing-key", {first: [{content: "x"}, answer]}
        yield "wrong-type", {first: [user, {**answer, content: None}]}
        yield "wrong-type", {first: [user, {**answer, content: 5}]}
        yield "wrong-type", {first: [{**user, role: 7}, answer]}
        yield "no-assistant", {first: [user]}
        yield "no-user", {first: [answer]}
        yield "turn-order", {first: [user, user, answer]}
        yield "turn-order", {first: [answer, user, answer]}
        yield "turn-order", {first: [user, answer, answer]}
        yield "turn-order", {first: [user, {**user, role: "system"}, answer]}
        yield "unanswered", {first: [user, answer, user]}
        yield "unknown-key", {first: [user, {**answer, "contnet": "x"}]}
        yield "empty-prompt", {first: [{**user, content: "  "}, answer]}
    if kind == "chat":
        call = {"type": "function", "function": {"name": "find", "arguments": "{not json"}}
        yield "tool-call", {first: [user, {"role": "assistant", "content": None, "tool_calls": [call]}]}
        yield "tool-call", {first: [user, {"role": "assistant", "content": None, "tool_calls": [{"function": {}}]}]}
        yield "unknown-mark", {first: [user, {**answer, "weight": 2}]}
        yield "unknown-mark", {first: [user, {**answer, "weight": "1"}]}
        yield "nothing-trained", {first: [user, {**answer, "weight": 0}]}
        yield "not-text", {first: [{**user, "content": [{"type": "image_url", "image_url": "x"}]}, answer]}
        yield "wrong-type", {first: [{**user, "content": [{"type": "text", "text": 4}]}, answer]}
        yield "tool-order", {first: [user, {"role": "tool", "content": "3"}, answer]}
        yield "wrong-type", {**good, "tools": "no list"}


# --- mistakes in how a row is written: lines of JSON -----------------------------------------------------------------


def broken_lines(line):
    """(code, bytes) of lines that are not right, made of one that is."""
    data = line.encode()
    yield "malformed-json", data[: len(data) // 2]
    yield "malformed-json", data[:-1]
    yield "malformed-json", data.replace(b":", b"", 1)
    yield "malformed-json", data.replace(b'"', b"'")
    yield "malformed-json", data[:-1] + b",}"
    yield "malformed-json", b"{unquoted: 1}"
    yield "malformed-json", data + b" // a comment"
    yield "malformed-json", data[:-1] + b"]"
    yield "malformed-json", b"<html><body>Not found</body></html>"
    yield "malformed-json", data.replace(b" ", b"\t", 1).replace(b"Where", b"Wh\tere", 1)
    yield "malformed-json", b'{"a": 01}'
    yield "malformed-json", b'{"a": "\\x41"}'
    yield "two-objects", data + data
    yield "two-objects", data + b" " + data
    yield "duplicate-key", data[:-1] + b", " + data[1:-1].split(b":", 1)[0] + b": 1}"
    yield "nan", data[:-1] + b', "score": NaN}'
    yield "nan", data[:-1] + b', "score": -Infinity}'
    yield "encoding", data.replace(b"Where", b"Wh\xe9re", 1)
    yield "encoding", data.replace(b"Where", b"\xc3\x28ere", 1)
    yield "encoding", data.replace(b"Where", b"\xed\xa0\x80ere", 1)
    yield "too-deep", b"[" * 50_000
    yield "too-deep", b'{"a":' * 50_000
    yield "line-too-long", b'{"prompt": "' + b"x" * (17 * 2**20) + b'"}'


def cases():
    """Every case."""
    for kind in GOOD:
        for place in (2, ROWS - 1):
            yield from _said(kind, place)
            yield from _shaped(kind, place)
            yield from _written(kind, place)
    yield from files()


def _said(kind, place):
    for code, text in [*TEXTS.items(), *((f"{code}@fr", text) for code, text in FRENCH.items())]:
        made = rows(kind)
        made[place] = text_at(kind, made[place], text)
        if code.endswith("@fr"):
            made[place] = text_at(
                kind, made[place], "Où se trouve le port de cette ville, et comment y va-t-on ?", False
            )
        yield _jsonl(f"{kind}-{code}-{place}", made, place, code.partition("@")[0])


def _shaped(kind, place):
    for number, (code, row) in enumerate(wrong_shapes(kind)):
        made = rows(kind)
        made[place] = row
        name = f"{kind}-{code}-{number}-{place}"
        yield _jsonl(name, made, place, code)
        if place == 2:
            yield _listed(name, made, place, code)


def _jsonl(name, made, place, code):
    data = "\n".join(json.dumps(row) for row in made) + "\n"
    return Case(f"jsonl-{name}", "x.jsonl", data.encode(), code, place + 1)


def _listed(name, made, place, code):
    """An indented list: the row's line is that of its first brace."""
    parts = [json.dumps(row, indent=2) for row in made]
    line = 2 + sum(part.count("\n") + 1 for part in parts[:place])
    return Case(f"json-{name}", "x.json", ("[\n" + ",\n".join(parts) + "\n]\n").encode(), code, line)


def _written(kind, place):
    for number, (code, line) in enumerate(broken_lines(json.dumps(rows(kind)[place]))):
        if len(line) > 2**20 and kind != "alpaca":
            continue
        made = [json.dumps(row).encode() for row in rows(kind)]
        made[place] = line
        yield Case(f"jsonl-{kind}-{code}-{number}-{place}", "x.jsonl", b"\n".join(made) + b"\n", code, place + 1)


# --- mistakes of whole files ---------------------------------------------------------------------------------------


def files():
    """Files that are not what they say."""
    good = "".join(json.dumps(row) + "\n" for row in rows("alpaca")).encode()
    yield Case("empty", "x.jsonl", b"", "empty-file", None, 2)
    yield Case("blank", "x.jsonl", b"\n\n  \n", "empty-file", None, 2)
    yield Case("empty list", "x.json", b"[]", "empty-file", None, 2)
    yield Case("bom", "x.jsonl", b"\xef\xbb\xbf" + good, "bom", 1)
    yield Case("bom alone", "x.jsonl", b"\xef\xbb\xbf", "empty-file", None, 2)
    yield Case("utf-16", "x.jsonl", good.decode().encode("utf-16"), "utf-16", 1)
    yield Case("utf-32", "x.jsonl", good.decode().encode("utf-32"), "utf-16", 1)
    yield Case("gzip", "x.jsonl", gzip.compress(good), "compressed", 1)
    yield Case("half a gzip", "x.jsonl.gz", gzip.compress(good * 2000)[:200], "unreadable", None, 2)
    yield Case("bomb", "x.jsonl.gz", gzip.compress(good[:-2] + b" " * 200 * 2**20), "out-of-proportion", None, 2)
    yield Case("zip of one", "x.jsonl", zipped({"a.jsonl": good}), "compressed", 1)
    yield Case("zip of two", "x.zip", zipped({"a.jsonl": good, "b.jsonl": good}), "unreadable", None, 2)
    yield Case(
        "zip bomb", "x.zip", zipped({"a.jsonl": b'{"text": "' + b"a" * 300 * 2**20}), "out-of-proportion", None, 2
    )
    yield Case("xlsx", "x.csv", zipped({"xl/workbook.xml": b"<x/>", "a": b""}), "unreadable", None, 2)
    for magic in (
        b"BZh91AY",
        b"\xfd7zXZ\0",
        b"%PDF-1.7",
        b"SQLite format 3\0",
        b"\x89PNG\r\n",
        b"\x80\x04\x95",
        b"GGUF\3",
    ):
        yield Case(f"magic {magic!r}", "x.jsonl", magic + b"\0" * 64, "unreadable", None, 2)
    yield Case("random bytes", "x.jsonl", bytes(range(128, 256)) * 40, "encoding", 1, 2)
    yield Case("binary of no name", "x.bin", bytes(range(256)) * 40, "unreadable", None, 2)
    yield Case("unknown keys", "x.jsonl", b'{"who": "I", "what": "x"}\n' * 3, "unknown-format", None, 2)
    yield Case("prompts alone", "x.jsonl", b'{"prompt": "x"}\n' * 3, "prompt-only", None)
    yield Case("token ids", "x.jsonl", b'{"input_ids": [1, 2]}\n' * 3, "pretokenised", None)
    yield Case(
        "preference", "x.jsonl", b'{"prompt": "x", "chosen": "a", "rejected": "b"}\n' * 3, "preference-data", None
    )
    yield Case("feedback", "x.jsonl", b'{"prompt": "x", "completion": "a", "label": true}\n' * 3, "feedback-data", None)
    yield from listed_files()
    yield from tables()


def listed_files():
    """JSON lists that are cut, unclosed, or run on."""
    parts = [json.dumps(row, indent=1) for row in rows("alpaca")]
    starts = [2]
    for part in parts:
        starts.append(starts[-1] + part.count("\n") + 1)
    whole = "[\n" + ",\n".join(parts) + "\n]\n"
    yield Case("list cut off", "x.json", whole[: whole.rindex("]")].encode(), "malformed-json", starts[5])
    yield Case("list cut in a row", "x.json", whole[: whole.rindex("output")].encode(), "malformed-json", starts[4] + 3)
    yield Case(
        "list with a last comma", "x.json", whole.replace("\n]", ",\n]").encode(), "malformed-json", starts[5] - 1
    )
    missing = "[\n" + ",\n".join(parts[:3]) + "\n" + ",\n".join(parts[3:]) + "\n]"
    yield Case("list without a comma", "x.json", missing.encode(), "malformed-json", starts[3])
    yield Case("list that runs on", "x.json", (whole + "{}").encode(), "malformed-json", whole.count("\n") + 1)
    broken = whole.replace('"instruction":', '"instruction"', 3).replace('"instruction"', '"instruction":', 2)
    yield Case("list with a broken row", "x.json", broken.encode(), "malformed-json", starts[2] + 1)
    twice = whole.replace('"input": "",', '"input": "",\n "input": "",', 1)
    yield Case("list with a key twice", "x.json", twice.encode(), "duplicate-key", 2)


def tables():
    """CSV and TSV."""
    head = "prompt,completion\n"
    good = [f'"Where is {n}?","{WORDS}"' for n in range(4)]
    for number, (code, line) in enumerate(
        (
            ("ragged-row", "a,b,c"),
            ("ragged-row", "a"),
            ("bad-csv", '"a"b,c'),
            ("empty-answer", "a question,"),
            ("empty-prompt", f',"{WORDS}"'),
            ("encoding", "caf\udce9,b"),
            ("nul", f'a\0b,"{WORDS}"'),
        )
    ):
        data = (head + "\n".join([*good[:2], line, *good[2:]]) + "\n").encode("utf-8", "surrogateescape")
        yield Case(f"csv-{code}-{number}", "x.csv", data, code, 4)
    several = head + '"two\nlines","a\nb."\n' + "a,b,c\n"
    yield Case("csv after a cell of two lines", "x.csv", several.encode(), "ragged-row", 5)
    yield Case("csv that never closes", "x.csv", (head + good[0] + '\n"open,b\nc,d\n').encode(), "bad-csv", 3)
    yield Case("csv with a column twice", "x.csv", b"prompt,prompt\na,b\n", "duplicate-column", 1, 2)
    yield Case("csv header alone", "x.csv", head.encode(), "empty-file", None, 2)
    yield Case("csv of other columns", "x.csv", b"a,b\n1,2\n", "unknown-format", None, 2)
    yield Case("tsv", "x.tsv", b"prompt\tcompletion\na\tb\tc\nd\te\n", "ragged-row", 2)
    yield Case("parquet cut short", "x.parquet", b"PAR1" + b"\0" * 100, "unreadable", None, 2)
    yield Case("arrow cut short", "x.arrow", b"ARROW1\0\0" + b"\0" * 100, "unreadable", None, 2)


def zipped(members):
    """A zip archive."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return held.getvalue()
