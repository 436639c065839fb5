"""Rows to tokens: rendered, cut, and checked; on every core if there are many, once for the same rows.

A row takes about a millisecond. The result depends on the rows, the tokenizer, ``train_on``, the length and this code,
so it is cached under a hash of all of them: a resumed run, or the next seed on the same data, reads it back.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from etabli import rendering
from etabli.core import machine, parsing, storage
from etabli.core.contracts import Row
from etabli.core.errors import BadData, Damaged, EtabliError
from etabli.rendering import token_checks
from etabli.rendering.render import Renderer
from etabli.runs.recipe import Recipe
from etabli.training.packing import MASKED, FailedChecks, TokenizedRow

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

MAX_COMPARED = 2000  # rows whose ids are compared with the template's own, at most
CACHED_FROM = 2000  # rows: fewer are tokenized faster than they are read back
PARALLEL_FROM = 8000  # rows: fewer are done before other processes have started
CACHED_SETS = 8  # sets of rows that stay in the cache

TokenizedRows = tuple[list[TokenizedRow], list[str], FailedChecks]


def tokenize_rows(rows: Sequence[Row], tokenizer: "Tokenizer", recipe: Recipe) -> TokenizedRows:
    """Render and cut rows, and run ``etabli.rendering.token_checks`` on them.

    Returns:
        The rows with a trained token; the ids of those without one after the cut at ``max_length``; and the failed
        checks. The ids are compared with the template's own on at most ``MAX_COMPARED`` rows, spread over all.
    """
    has_date = "strftime_now" in str(tokenizer.chat_template)  # such a template is another one tomorrow
    if len(rows) < CACHED_FROM or has_date:
        return _tokenize(rows, tokenizer, recipe)
    folder = machine.cache_folder() / "encoded" / _key(rows, tokenizer, recipe)
    with contextlib.suppress(OSError, ValueError, KeyError, Damaged):
        return _read(folder)
    result = _tokenize(rows, tokenizer, recipe)
    with contextlib.suppress(OSError, EtabliError):  # it is only a cache: the run goes on without it
        shutil.rmtree(folder, ignore_errors=True)  # a half-deleted folder may be left there
        _write(folder, result)
    return result


def _tokenize(rows: Sequence[Row], tokenizer: "Tokenizer", recipe: Recipe) -> TokenizedRows:
    every = -(-len(rows) // MAX_COMPARED) or 1
    flagged_rows = [(row, index % every == 0) for index, row in enumerate(rows)]
    workers = machine.cores() if len(rows) >= PARALLEL_FROM else 1
    if workers == 1:
        return _join([_tokenize_part(flagged_rows, tokenizer, recipe)])
    from joblib import Parallel, delayed

    size = -(-len(rows) // (4 * workers))
    parts = [flagged_rows[start : start + size] for start in range(0, len(rows), size)]
    return _join(Parallel(n_jobs=workers)(delayed(_tokenize_part)(part, tokenizer, recipe) for part in parts))


def _tokenize_part(
    flagged_rows: list[tuple[Row, bool]], tokenizer: "Tokenizer", recipe: Recipe
) -> tuple[list[TokenizedRow], FailedChecks]:
    """Tokenize the rows that can be rendered; the flag of a row: compare its ids with the template's own."""
    rows: list[TokenizedRow] = []
    failed_checks: FailedChecks = {}
    max_length = recipe.max_length
    renderer = Renderer(tokenizer)
    texts = renderer.render_texts(row for row, _ in flagged_rows)
    for (row, compare), text in zip(flagged_rows, texts):
        try:
            conversation = renderer.render(row["messages"], recipe.train_on, tools=row.get("tools"), text=text)
        except BadData as error:
            failed_checks.setdefault(token_checks.TEMPLATE, []).append((row["id"], str(error)))
            continue
        rows.append(
            TokenizedRow(
                row["id"],
                conversation.ids[:max_length],
                conversation.labels[:max_length],
                row.get("lang") or "rows",
                max(0, len(conversation.ids) - max_length),
                len(conversation.dropped_thoughts),
                len(conversation.unwritten_tools),
            )
        )
        for check in token_checks.check_row(row, conversation, renderer, recipe.train_on, max_length, own=compare):
            if check.ok is False:
                failed_checks.setdefault(check.name, []).append((row["id"], check.why))
    return rows, failed_checks


def _join(parts: list[tuple[list[TokenizedRow], FailedChecks]]) -> TokenizedRows:
    rows = [row for part, _ in parts for row in part]
    failed_checks: FailedChecks = {}
    for _, part_checks in parts:
        for name, failures in part_checks.items():
            failed_checks.setdefault(name, []).extend(failures)
    return (
        [row for row in rows if row.trained_tokens],
        [row.id for row in rows if not row.trained_tokens],
        failed_checks,
    )


# --- cache ------------------------------------------------------------------------------------------------------------


def _key(rows: Sequence[Row], tokenizer: "Tokenizer", recipe: Recipe) -> str:
    sources = [*sorted(Path(rendering.__path__[0]).glob("*.py")), Path(__file__)]
    code = "".join(source.read_text(encoding="utf-8") for source in sources)
    vocabulary = tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else json.dumps(tokenizer.get_vocab())
    special = [str(tokenizer.special_tokens_map), str(tokenizer.chat_template)]
    versions = [str(machine.versions()), *map(version, ("tokenizers", "jinja2"))]
    texts = [code, vocabulary, *special, *versions, recipe.train_on, str(recipe.max_length)]
    digest = hashlib.sha256("\0".join(texts).encode())
    for row in rows:
        digest.update(storage.to_json([row["id"], row["messages"], row.get("tools"), row.get("lang")]).encode())
    return digest.hexdigest()[:32]


def _write(place: Path, result: TokenizedRows) -> None:
    import numpy as np

    rows, untrainable, failed_checks = result
    with storage.write_folder(place) as folder:
        np.savez(
            folder / "tokens.npz",
            ids=np.array([token for row in rows for token in row.ids], dtype=np.int32),
            trained=np.array([label != MASKED for row in rows for label in row.labels], dtype=bool),
            lengths=np.array([len(row.ids) for row in rows], dtype=np.int32),
        )
        facts = {
            "rows": [[row.id, row.slice, row.tokens_lost, row.thoughts_lost, row.tools_lost] for row in rows],
            "untrainable": untrainable,
            "failed": failed_checks,
        }
        storage.write_json(folder / "rows.json", facts)
    for old in sorted(place.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)[CACHED_SETS:]:
        shutil.rmtree(old, ignore_errors=True)


def _read(folder: Path) -> TokenizedRows:
    import numpy as np

    storage.verify(folder)
    facts = parsing.read_json(folder / "rows.json")
    with np.load(folder / "tokens.npz") as arrays:
        ids, flags, ends = arrays["ids"].tolist(), arrays["trained"].tolist(), arrays["lengths"].cumsum().tolist()
    labels = [token if flag else MASKED for token, flag in zip(ids, flags)]
    spans = zip(facts["rows"], [0, *ends], ends)
    rows = [TokenizedRow(row_id, ids[low:high], labels[low:high], *rest) for (row_id, *rest), low, high in spans]
    failed_checks = {name: [(row, why) for row, why in failures] for name, failures in facts["failed"].items()}
    return rows, facts["untrainable"], failed_checks
