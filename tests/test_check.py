"""Every mistake that was put into a file is found, called by its name, on its line; nothing raises."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import malformed
from etabli.checks.check import check
from etabli.core.errors import BadData
from etabli.data.reading.jsonlists import read_json_values
from etabli.data.reading.opening import open_file
from etabli.data.reading.source import read

CASES = list(malformed.cases())


def test_there_are_enough_cases():
    assert len(CASES) >= 300 and len({case.id for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_mistake_is_found_on_its_line(case, tmp_path):
    path = tmp_path / case.name
    path.write_bytes(case.data)
    report = check(path, model=None)
    found = [(item["code"], item["line"]) for item in report.findings()]
    assert case.code in [code for code, _ in found]
    assert case.line is None or (case.code, case.line) in found
    assert report.code == case.exit
    json.loads("".join(report.json_pieces()))
    report.text(), report._repr_html_()
    if any(item["severity"] == "error" and item["code"] != "secret" for item in report.findings()):
        with pytest.raises(BadData):
            read(path)
    else:
        assert read(path)


# --- compared with a reference: any bytes -----------------------------------------------------------------------------

BROKEN_LINE = {"malformed-json", "two-objects", "duplicate-key", "nan", "encoding", "too-deep", "not-an-object"}


def strict(line):
    """Is this a JSON object, by Python's parser told to allow nothing that the standard does not?"""

    def once(pairs):
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key twice")
        return dict(pairs)

    def refuse(name):
        raise ValueError(name)

    try:
        return isinstance(json.loads(line.decode(), object_pairs_hook=once, parse_constant=refuse), dict)
    except (ValueError, RecursionError):
        return False


def mutated(data, edits):
    data = bytearray(data)
    for place, what in edits:
        place %= len(data) + 1
        if what is None:
            del data[place : place + 3]
        else:
            data[place:place] = what
    return bytes(data)


GOOD_FILE = b"".join(json.dumps(row).encode() + b"\n" for row in malformed.rows("chat", 4))
PIECES = [
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\",
    b"\\u",
    b"\xff",
    b"\xc3",
    b"NaN",
    b"null",
    b"\0",
    b" ",
    b"1e999",
    b"\r",
    b"'",
]
EDITS = st.lists(
    st.tuples(st.integers(0, 2000), st.one_of(st.none(), st.sampled_from(PIECES), st.binary(max_size=4))), max_size=4
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=EDITS)
def test_lines_are_broken_exactly_where_a_strict_parser_says(edits, tmp_path):
    data = mutated(GOOD_FILE, edits)
    path = tmp_path / "x.jsonl"
    path.write_bytes(data)
    report = check(path)
    found = {item["line"] for item in report.findings() if item["code"] in BROKEN_LINE}
    # An object that goes over several lines is no mistake: the file is then read as objects, not as lines.
    if report.format["name"] == "chat" and open_file(path).kind == "jsonl":
        lines = enumerate(data.split(b"\n"), 1)
        assert found == {number for number, line in lines if line.strip() and not strict(line)}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.one_of(
        st.binary(max_size=300), st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass"))
    ),
    name=st.sampled_from(["x.jsonl", "x.json", "x.csv", "x.tsv", "x.txt", "x.md", "x.parquet", "x.arrow", "x.gz", "x"]),
)
def test_no_bytes_raise(data, name, tmp_path):
    path = tmp_path / name
    path.write_bytes(data)
    report = check(path)
    assert report.code in (0, 1, 2) and (report.rows or report.code == 2)
    json.loads("".join(report.json_pieces()))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "role",
                    "content",
                    "messages",
                    "tool_calls",
                    "function",
                    "name",
                    "arguments",
                    "weight",
                    "type",
                    "text",
                    "from",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(kind=st.sampled_from(sorted(malformed.GOOD)), value=VALUES, other=VALUES)
def test_no_value_in_any_field_raises(kind, value, other):
    good = malformed.rows(kind, 2)
    key = list(good[0])[-1]
    report = check([*good, {**good[0], key: value, "tools": other, "system": other, "lang": value}, value])
    assert report.rows == 4 and report.code == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(VALUES.filter(lambda value: isinstance(value, dict)), min_size=1, max_size=6),
    indent=st.sampled_from([None, 1]),
)
def test_a_list_is_read_as_json_reads_it(values, indent, tmp_path):
    text = json.dumps(malformed.rows("alpaca", 1) + values, indent=indent, ensure_ascii=True)
    path = tmp_path / "x.json"
    path.write_text(text)
    with path.open("rb") as stream:
        records = list(read_json_values(stream))
    assert repr([record.value for record in records]) == repr(json.loads(text, parse_constant=lambda name: None))
    lines = [record.line for record in records]
    assert lines == sorted(lines) and (indent is None or text.split("\n")[lines[-1] - 1].lstrip().startswith("{"))
