"""Rows, findings about them, and the tokens of a batch."""

from typing import Any, NamedTuple, NotRequired, Required, TypedDict

# --- rows -----------------------------------------------------------------------------------------------------------

# "text" is not a turn of a chat but plain text that is trained as it stands (language modelling).
ROLES = ("system", "user", "assistant", "tool", "text")


class Message(TypedDict, total=False):
    """One turn. ``train`` overrides the mask policy for a turn or for plain text.

    ``content`` is always text; it is empty where a file has null beside ``tool_calls``. ``reasoning`` is the thought
    before an answer's content; an empty one was written as an empty thought. ``train_spans`` are the only parts of the
    content that are trained, under any policy, where marks of its parts say so; ``spans`` are the parts that the policy
    ``spans`` trains. Both are lists of [first character, one after the last].
    """

    role: Required[str]
    content: Required[str]
    reasoning: str
    train: bool | None
    train_spans: list[list[int]]
    spans: list[list[int]]
    name: str
    tool_calls: list[dict[str, object]]
    tool_call_id: str


class ToolCall(TypedDict):
    """A call of a function, without the forms of families: in the results of an evaluation."""

    name: str
    arguments: dict[str, Any]


class Reason(TypedDict):
    """Why a filter marks a row."""

    filter: str  # name of the filter (near, quality, ...), or "person" where somebody dropped the row
    why: str
    value: float | None  # the measured value: a similarity between 0 and 1, or a length
    like: str | None  # id of the similar row, from the training or the test rows
    rejects: bool  # true if the filter rejects the row; false if it only shows it


DECISION_KINDS = ("keep", "fix", "drop", "undo")


class Decision(TypedDict):
    """A line of ``decisions.jsonl``: what somebody decided about a row."""

    version: int
    id: str
    t: float  # seconds since epoch
    do: str  # one of DECISION_KINDS
    row: str  # id of the row
    was: str  # hash of the row's messages; the decision does not apply to a row that has changed since
    by: str
    why: str
    messages: NotRequired[list[Message]]  # of a fix: the new messages of the row
    undoes: NotRequired[str]  # of an undo: the id of the decision that it takes back


class Row(TypedDict, total=False):
    """One conversation with its lineage. ``split``, ``template`` and ``copy_group``
    (near-copies of one question) exist only where a data set has them.

    ``columns`` holds the other columns of a file by name: an evaluation may slice by them, and some scores need them
    (``choices``, ``instruction_id_list``). They are not trained.
    """

    id: Required[str]
    messages: Required[list[Message]]
    tools: list[dict[str, object]]
    lang: str | None
    source: str | None
    licence: str | None
    terms: str | None
    parents: list[str]
    generator: str | None
    created: str | None
    split: str | None
    template: str | None
    copy_group: str | None
    columns: dict[str, object]
    reasons: list[Reason]
    decision: Decision


class DatasetReading(TypedDict):
    """``etabli data read --json``: what was written, and counts of what was not."""

    folder: str
    rows: int
    test: int  # of these rows, those that are not trained
    left_out: dict[str, int]  # code of the reason -> rows
    unused_columns: dict[str, int]  # column -> rows with a value in it
    warnings: list[str]
    hash: str


class CurationSummary(TypedDict):
    """``etabli data prepare --json``. Rows marked ``test`` are counted apart: they are not curated."""

    version: int
    rows: int
    kept: int
    dropped: dict[str, int]  # filter -> rows that it rejected
    found: dict[str, int]  # filter -> rows that it marked, also those that stay
    protected: int  # rows of small sources that stay although a filter rejects them
    test: int
    hash: str  # of the resulting Dataset
    recipe_hash: str
    decisions: int  # decisions that apply
    not_run: list[str]
    warnings: list[str]  # of the reading of the source


# --- the tokens of a batch ------------------------------------------------------------------------------------------


class TokenCheck(TypedDict):
    """What an assertion about a row's tokens says."""

    name: str
    ok: bool | None  # null: it does not apply
    why: str


class LensRow(TypedDict):
    """One row of a batch. Lists have one entry for each token, except ``starts`` and ``cut``."""

    id: str
    ids: list[int]
    text: list[str]
    role: list[str]
    offset: list[list[int]]  # [first character, one after the last] in the row's whole text
    message: list[int | None]  # number of the message; null: the token belongs to the template
    starts: dict[str, int]  # message -> first character of its content in the whole text
    lengths: dict[str, int]  # message -> characters of its content
    trained: dict[str, list[bool]]  # by policy
    nats: list[float | None] | None  # loss under the base model
    cut: int  # number of tokens beyond max_length
    assertions: dict[str, list[TokenCheck]]  # by policy


class RowTokens(TypedDict):
    """``etabli data tokens --json``. Lists have one entry for each token."""

    ids: list[int]
    text: list[str]
    role: list[str]
    trained: list[bool]
    offset: list[tuple[int, int]]  # first character, and one after the last, in the row's whole text
    share: float  # of the tokens that are trained
    max_length: int  # tokens
    cut: int  # number of tokens beyond max_length
    nats: list[float | None] | None  # loss under the base model
    assertions: list[TokenCheck]


class Lens(TypedDict):
    """The batch of one step, and the rows of the whole data set that fail an assertion."""

    version: int
    model: str
    step: int
    steps: int
    policy: str  # the recipe's policy
    max_length: int  # tokens
    packs: int
    rows: list[LensRow]
    policies: dict[str, dict[str, float | int | None]]  # policy -> trained (tokens), share, loss (nats a token)
    failed: dict[str, list[list[str]]]  # assertion -> its first failing rows: [id, why]
    failing: dict[str, int]  # assertion -> number of failing rows
    of: int  # number of rows to train on
    said: str


# --- findings about a file ------------------------------------------------------------------------------------------

SEVERITIES = ("error", "warning", "info")


class Finding(NamedTuple):
    """One finding about a data file. ``row`` counts from 0, ``line`` from 1; null where there is none."""

    severity: str
    code: str
    row: int | None
    line: int | None
    field: str
    excerpt: str
    why: str
    fix: str


class NotRun(TypedDict):
    """A check that did not look at all rows, and why. A check never passes silently."""

    check: str
    why: str
    rows: int | None  # number of rows that were not checked; null: all
    fix: str


class FileFormat(TypedDict):
    """How a file was read, and its first rows as text."""

    name: str | None
    reason: str
    columns: dict[str, str]  # the format's name of a column -> the file's
    preview: list[str]


class CheckInfo(TypedDict):
    """One check that ran."""

    name: str
    by: str | None  # the model or the rules that it uses
    languages: str | list[str]  # "all", or the languages that it knows
    own: bool  # the user's own rule


class TrainingCost(TypedDict):
    """The tokens of a whole file, and what training on it takes."""

    model: str
    max_length: int  # tokens
    policy: str
    rows: int
    tokens: int
    tokens_per_row: dict[str, int]  # min, median, p90, p99, max
    truncated_rows: int
    truncated_tokens: int
    trained_tokens: int
    epochs: int
    epochs_rule: str
    steps: int
    seconds: NotRequired[int]
    seconds_from: NotRequired[str]  # where the speed was measured


class CheckReport(TypedDict):
    """``etabli data check --json``."""

    version: int
    file: str
    format: FileFormat
    rows: int
    counts: dict[str, int]  # finding code -> number of findings
    findings: list[Finding]
    not_run: list[NotRun]
    checks: list[CheckInfo]
    cost: TrainingCost | None
    lineage: dict[str, dict[str, int]]  # licence, source, terms, generator -> value -> rows
    languages: dict[str, int]  # language -> rows
