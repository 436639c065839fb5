"""Every code that ``etabli data check`` can report: how bad, why it matters, how to mend it.

``docs/checks.md`` is written from this table by ``python -m etabli.data.catalogue`` and checked by a test.
"""

from etabli.data.notes import Code

_RENAME = "Name the columns: --column prompt=question (columns={'prompt': 'question'} in Python)."
_JSON = "Write every row with a JSON library, one object a line."
_REWRITE = "Read the row; rewrite the answer or leave the row out."

FILE = {
    "no-file": Code("error", "There is no such file.", "Check the path."),
    "unreadable": Code("error", "The file can't be read as data.", "Export it again as JSONL, CSV or Parquet."),
    "empty-file": Code("error", "There are 0 rows in it.", "Check what wrote it."),
    "unknown-format": Code("error", "The columns fit no format that établi knows.", _RENAME),
    "out-of-proportion": Code(
        "error", "It unpacks to far more than its size: a mistake or an attack.", "Unpack it yourself and look at it."
    ),
    "compressed": Code("warning", "It is compressed, whatever its name says.", "Name it .gz, or unpack it."),
    "bom": Code(
        "warning", "It begins with a byte order mark, which breaks other readers.", "Save it as UTF-8 without BOM."
    ),
    "encoding": Code("error", "These bytes are not UTF-8.", "Convert it: iconv -f WINDOWS-1252 -t UTF-8 old > new."),
    "utf-16": Code("warning", "It is UTF-16 or UTF-32; most readers expect UTF-8.", "Save it as UTF-8."),
    "unfolded": Code("info", "One object holds all rows.", "Nothing to do, if that is what you expect."),
    "shards": Code("warning", "One file of several: the others are not read.", "Name the folder, or a glob."),
    "unread-keys": Code("info", "Keys of a mapping file that are not read.", "Write a recipe of your own."),
    "missing-names": Code(
        "warning", "Names of a mapping file that no row has.", "Correct the name in the mapping file, or remove it."
    ),
    "left-out-parts": Code("warning", "Parts of the data set that are not read.", "Name what you want to read."),
    "extra-columns": Code("info", "Columns that are not used.", "Nothing to do, if that is what you expect."),
}
FORM = {
    "unreadable-row": Code(
        "error", "établi can't make a conversation of this row.", "Write texts as text and lists as lists."
    ),
    "malformed-json": Code("error", "This is not JSON.", _JSON),
    "two-objects": Code("error", "More than one object on a line: readers drop or refuse the rest.", _JSON),
    "not-an-object": Code("error", "A row must be an object with named fields.", _JSON),
    "duplicate-key": Code("error", "A key stands twice in one object: readers keep one without a word.", "Keep one."),
    "nan": Code("error", "NaN and Infinity are not JSON; other readers refuse the file.", "Write null or a number."),
    "lone-surrogate": Code(
        "error",
        "Half of a character: no tokenizer and no UTF-8 file can hold it.",
        "Write the whole character, or drop it.",
    ),
    "mojibake": Code(
        "warning", "Letters that were read in the wrong encoding (Ã© for é).", "Read the source again as UTF-8."
    ),
    "nul": Code("error", "A NUL character: it cuts texts short in other tools.", "Remove it."),
    "control-characters": Code("warning", "Control characters that no keyboard types.", "Remove them."),
    "line-too-long": Code(
        "error",
        "A row of more than 16 MB is no conversation; it was not read.",
        "Write each row on a line of its own (JSONL).",
    ),
    "too-deep": Code("error", "Nested too deeply to be data.", _JSON),
    "ragged-row": Code(
        "error",
        "The row has not as many cells as the header: cells have shifted.",
        "Quote cells that hold the separator or a line break.",
    ),
    "bad-csv": Code("error", "The quoting is broken.", "Write the file with a CSV library."),
    "duplicate-column": Code("error", "Two columns have one name: one of them is lost.", "Rename one."),
    "missing-key": Code("error", "A field that this format needs is not there.", _RENAME),
    "unknown-key": Code("warning", "A field that no trainer reads: often a misspelt one.", "Rename or remove it."),
    "reasoning": Code(
        "error",
        "A thought that can't be read.",
        "Write it once, as text: the key reasoning of the assistant's turn.",
    ),
    "thought-tags": Code(
        "warning",
        "Tags of a thought that do not enclose the answer's beginning, or are in a thought: they stay text.",
        "Begin the answer with <think>, or write the thought under the key reasoning.",
    ),
    "unknown-split": Code(
        "warning",
        "A mark that is no split: the row is trained.",
        "Write train, validation or test.",
    ),
    "split-column": Code(
        "warning",
        "A column of another name holds splits: such rows are kept out of training, or named where that is not sure.",
        "Name it: --column split=set (columns={'split': 'set'} in Python).",
    ),
    "split-file": Code(
        "info",
        "The name of the row's file is a split: such rows are kept out of training.",
        "Nothing to do, if that is what you expect; else --column split=none (columns={'split': 'none'} in Python).",
    ),
    "unknown-mark": Code(
        "error",
        "A mark of what is trained that is neither 0 nor 1, or marks that contradict each other.",
        "Write 1 to train the turn, 0 to leave it out; repeat a row that should count more.",
    ),
    "row-weight": Code(
        "warning",
        "A weight of the row: it is not used, every row counts once.",
        "Repeat a row that should count more, write 0 for one that is not trained; rename the column if it is no mark.",
    ),
    "wrong-type": Code(
        "error", "The value is not of the type that this format needs.", "Write text as text and lists as lists."
    ),
    "unknown-role": Code("error", "Nobody knows this role.", "Use system, user, assistant or tool."),
    "no-messages": Code("error", "A conversation without messages.", "Remove the row."),
    "no-assistant": Code(
        "error", "No assistant turn: there is nothing to learn.", "Add the answer, or remove the row."
    ),
    "no-user": Code("warning", "No user turn: the answer answers nothing.", "Add the question, or remove the row."),
    "turn-order": Code(
        "warning",
        "Turns out of order: some chat templates refuse it, others render it oddly.",
        "Merge turns of one speaker; begin with system or user.",
    ),
    "unanswered": Code(
        "warning",
        "The conversation ends without an answer: its last turns are not trained.",
        "Remove the turns after the last answer.",
    ),
    "nothing-trained": Code(
        "warning",
        "Every answer is marked as not to be trained.",
        "Set weight or train on one answer, or remove the row.",
    ),
    "tool-call": Code("error", "A tool call that can't be read.", "Give it a name and arguments that are JSON."),
    "tool-order": Code(
        "warning",
        "A tool's result without the call before it, or a call without its result.",
        "Keep calls and results together.",
    ),
    "not-text": Code(
        "error",
        "A part that is not text: this trains text models.",
        "Remove the row, or describe the picture in words.",
    ),
    "preference-data": Code(
        "error",
        "Preference data: two answers to each prompt, which is not what fine-tuning on examples reads.",
        "Keep the preferred answers: --format preferred (format='preferred').",
    ),
    "feedback-data": Code(
        "error",
        "Feedback data (KTO): answers with a thumb up or down.",
        "Keep the answers with a thumb up: --format preferred (format='preferred').",
    ),
    "left-out": Code("info", "A thumb down: left out, as you asked for the preferred answers.", "Nothing to do."),
    "task-columns": Code(
        "error",
        "A text beside the columns of a task, such as label, summary or answer: not plain text.",
        "Name question and answer: etabli data read FILE --column prompt=text --column completion=label --out FOLDER.",
    ),
    "rejected": Code("info", "An annotator rejected it: left out.", "If no review said so: --column status=none."),
    "unsettled": Code(
        "warning",
        "A column says that a review rejected the row or has not ended, or is an ordinary one: the row is trained.",
        "Name it to leave such rows out: --column status=state (columns={'status': 'state'} in Python).",
    ),
    "padding": Code(
        "warning",
        "All objects have the same keys, filled up with nulls, as Arrow writes them: these nulls are left out.",
        "Nothing to do; read the Parquet file itself if you have it.",
    ),
    "other-answers": Code(
        "warning",
        "Several people answered differently: the first answer is used.",
        "Keep one answer, or write a row for each.",
    ),
    "prompt-only": Code("error", "Prompts without answers: there is nothing to learn.", "Add a column with answers."),
    "pretokenised": Code(
        "error",
        "Token ids instead of text: they fit one tokenizer, and can't be looked at.",
        "Use the text that they were made from.",
    ),
    "control-token": Code(
        "warning",
        "A control token typed as text. établi keeps it text; other trainers read it as the end of a turn.",
        "Remove it, unless the text is about it.",
    ),
    "bidi": Code(
        "warning",
        "Characters that reverse the direction of text: what is shown is not what is trained.",
        "Remove them.",
    ),
    "invisible": Code(
        "warning", "Invisible characters inside words: what is shown is not what is trained.", "Remove them."
    ),
}
MEANING = {
    "empty-prompt": Code("error", "The question is empty.", "Add it, or remove the row."),
    "empty-answer": Code(
        "error", "The answer is empty: it would train the model to say nothing.", "Add it, or remove the row."
    ),
    "placeholder": Code("warning", "A placeholder instead of an answer.", _REWRITE),
    "truncated-answer": Code(
        "warning", "The answer stops in mid-sentence: the model learns to stop there too.", _REWRITE
    ),
    "refusal": Code("warning", "The answer refuses or apologises instead of answering.", _REWRITE),
    "ai-disclaimer": Code("warning", "The answer speaks of being an AI.", _REWRITE),
    "leaked-template": Code(
        "warning",
        "Markers of another prompt template, or a placeholder that was never filled in.",
        "Take them out, or map the file's format.",
    ),
    "unseen-media": Code(
        "warning",
        "The question speaks of a picture, a file or a page that the model does not see.",
        "Put what is meant into the text, or leave the row out.",
    ),
    "merged-rows": Code("warning", "Several examples run together in one row.", "Split the row."),
    "repetition": Code("warning", "The answer repeats itself.", _REWRITE),
    "wrong-language": Code(
        "warning",
        "The answer is in another language than the question or the row says.",
        "Check the row; leave it out if nobody asked for that language.",
    ),
    "duplicate-row": Code(
        "warning",
        "The same question and answer as an earlier row: it counts twice.",
        "Keep one, unless the weight is wanted.",
    ),
    "conflicting-answers": Code(
        "warning",
        "The same question as an earlier row, with another answer.",
        "Keep the better one, unless there are several right answers.",
    ),
}
COST = {
    "truncated-row": Code(
        "warning",
        "The row is longer than max_length: what is beyond it is never seen.",
        "Raise max_length, or shorten the row.",
    ),
    "answer-cut-off": Code(
        "error",
        "Nothing of the answer is left within max_length: the row teaches nothing.",
        "Raise max_length, or shorten the question.",
    ),
    "not-renderable": Code(
        "error",
        "The model's chat template refuses this conversation.",
        "Put its turns in order, or choose another model.",
    ),
    "tools-left-out": Code(
        "warning",
        "The model's chat template leaves out the tools, or a part of them: the model does not see what it may call.",
        "Choose a model whose template writes tools, or put what may be called into the system turn.",
    ),
    "thoughts-left-out": Code(
        "warning",
        "The model's chat template writes no thought before a later question: these are not trained.",
        "Make a row of each turn, or leave it so.",
    ),
}
SAFETY = {
    "pii-email": Code(
        "warning", "An e-mail address: a tuned model repeats what it was trained on.", "Replace it by a made-up one."
    ),
    "pii-phone": Code("warning", "A telephone number.", "Replace it by a made-up one."),
    "pii-iban": Code("warning", "A bank account number (IBAN, its checksum is right).", "Replace it by a made-up one."),
    "pii-card": Code("warning", "A payment card number (its Luhn checksum is right).", "Replace it by a made-up one."),
    "pii-nir": Code("warning", "A French social security number (its key is right).", "Replace it by a made-up one."),
    "pii-ip": Code("info", "A public IP address.", "Replace it, if it is somebody's."),
    "secret": Code(
        "error",
        "A key, token or password. Whoever has the data has it.",
        "Revoke it at its issuer first, then remove it here.",
    ),
}
LINEAGE = {
    "licence-unknown": Code(
        "info",
        "Neither the rows nor the command say under which licence they are.",
        "Say so: --licence CC-BY-4.0 --source NAME.",
    ),
    "licence-non-commercial": Code(
        "warning",
        "The licence forbids commercial use, of the rows and perhaps of what is trained on them.",
        "Use it for study, or choose other rows.",
    ),
    "terms-restrict": Code(
        "warning",
        "The answers come from a model whose terms restrict training on them.",
        "Read those terms, or choose other rows.",
    ),
}

OWN = {
    "rule-raised": Code("error", "A check or filter of your own raised an error on this row.", "Mend the function."),
}

CODES: dict[str, Code] = {**FILE, **FORM, **MEANING, **COST, **SAFETY, **LINEAGE, **OWN}


def page() -> str:
    """``docs/checks.md``."""
    parts = {
        "The file": FILE,
        "Form": FORM,
        "Meaning": MEANING,
        "Cost": COST,
        "Safety": SAFETY,
        "Licence and terms": LINEAGE,
        "Your own rules": OWN,
    }
    lines = ["# What `etabli data check` reports", "", "Written by `python -m etabli.data.catalogue`.", ""]
    for title, codes in parts.items():
        lines += [f"## {title}", "", "| code | severity | why | what to do |", "|---|---|---|---|"]
        lines += [f"| `{name}` | {code.severity} | {code.why} | {code.fix} |" for name, code in codes.items()]
        lines += [""]
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(), end="")
