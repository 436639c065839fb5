"""Rows to tokens: rendered, cut, held to the assertions; on every core where there are many, once for the same rows.

A row takes about a millisecond. What comes out depends on the rows, the tokenizer, the policy, the length and this
code, so it is kept under a hash of all of them: a resumed run, or the next seed on the same data, reads it back.
"""

import contextlib
import hashlib
import inspect
import json
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from etabli.core import machine, parsing, storage
from etabli.core.contracts import Row
from etabli.core.errors import BadData, Damaged, EtabliError
from etabli.rendering import render as tokens
from etabli.rendering import template, template_engine, token_checks
from etabli.rendering.render import render
from etabli.runs.recipe import Recipe
from etabli.training.packing import MASKED, Encoded, Failed

COMPARED = 2000
KEPT_FROM = 2000  # rows: fewer are encoded again sooner than they are found
PARALLEL_FROM = 8000  # rows: fewer are done before other processes have begun
KEPT = 8  # sets of rows

Made = tuple[list[Encoded], list[str], Failed]


def encode(rows: Sequence[Row], tokenizer: Any, recipe: Recipe) -> Made:
    """Render and truncate rows, and hold them to ``etabli.rendering.token_checks``.

    Returns:
        The rows that train anything; the ids of those that don't once cut at ``max_length``; and which assertions
        failed, where. The ids are compared with the template's own on at most ``COMPARED`` rows, spread over all.
    """
    if len(rows) < KEPT_FROM:
        return _encoded(rows, tokenizer, recipe)
    if "strftime_now" in str(tokenizer.chat_template):  # a template with the date in it is another one tomorrow
        return _encoded(rows, tokenizer, recipe)
    place = machine.cache_folder() / "encoded" / _key(rows, tokenizer, recipe)
    with contextlib.suppress(OSError, ValueError, KeyError, Damaged):
        return _read(place)
    made = _encoded(rows, tokenizer, recipe)
    with contextlib.suppress(OSError, EtabliError):  # a cache: to fail to write it is no reason to fail
        shutil.rmtree(place, ignore_errors=True)  # whatever half-deleted thing lies there
        _write(place, made)
    return made


def _encoded(rows: Sequence[Row], tokenizer: Any, recipe: Recipe) -> Made:
    every = -(-len(rows) // COMPARED) or 1
    numbered = [(row, at % every == 0) for at, row in enumerate(rows)]
    workers = machine.cores() if len(rows) >= PARALLEL_FROM else 1
    if workers == 1:
        return _joined([_part(numbered, tokenizer, recipe)])
    from joblib import Parallel, delayed

    size = -(-len(rows) // (4 * workers))
    parts = [numbered[at : at + size] for at in range(0, len(rows), size)]
    return _joined(Parallel(n_jobs=workers)(delayed(_part)(part, tokenizer, recipe) for part in parts))


def _part(rows: list[tuple[Row, bool]], tokenizer: Any, recipe: Recipe) -> tuple[list[Encoded], Failed]:
    """Every row that can be rendered, and what failed; the flag beside a row: compare it with the template's own."""
    encoded: list[Encoded] = []
    failed: Failed = {}
    most = recipe.max_length
    texts = template.render_ahead((row for row, _ in rows), tokenizer)
    for (row, own), ahead in zip(rows, texts):
        try:
            rendered = render(row["messages"], tokenizer, recipe.policy, tools=row.get("tools"), texts=ahead)
        except BadData as error:
            failed.setdefault(token_checks.TEMPLATE, []).append((row["id"], str(error)))
            continue
        encoded.append(Encoded(row["id"], rendered.ids[:most], rendered.labels[:most], row.get("lang") or "rows"))
        for said in token_checks.of_row(row, rendered, tokenizer, recipe.policy, most, own=own):
            if said.ok is False:
                failed.setdefault(said.name, []).append((row["id"], said.why))
    return encoded, failed


def _joined(parts: list[tuple[list[Encoded], Failed]]) -> Made:
    encoded = [row for part, _ in parts for row in part]
    failed: Failed = {}
    for name, found in ((name, found) for _, part in parts for name, found in part.items()):
        failed.setdefault(name, []).extend(found)
    return [row for row in encoded if row.trained], [row.id for row in encoded if not row.trained], failed


# --- kept -----------------------------------------------------------------------------------------------------------


def _key(rows: Sequence[Row], tokenizer: Any, recipe: Recipe) -> str:
    code = "".join(
        inspect.getsource(module) for module in (tokens, template, template_engine, token_checks, sys.modules[__name__])
    )
    vocabulary = tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else json.dumps(tokenizer.get_vocab())
    special = [str(tokenizer.special_tokens_map), str(tokenizer.chat_template)]
    versions = [str(machine.versions()), *map(version, ("tokenizers", "jinja2"))]
    said = [code, vocabulary, *special, *versions, recipe.policy, str(recipe.max_length)]
    known = hashlib.sha256("\0".join(said).encode())
    for row in rows:
        known.update(storage.to_json([row["id"], row["messages"], row.get("tools"), row.get("lang")]).encode())
    return known.hexdigest()[:32]


def _write(place: Path, made: Made) -> None:
    import numpy as np

    kept, untrainable, failed = made
    arrays = {
        "ids": np.array([token for row in kept for token in row.ids], dtype=np.int32),
        "trained": np.array([label != MASKED for row in kept for label in row.labels], dtype=bool),
        "lengths": np.array([len(row.ids) for row in kept], dtype=np.int32),
    }
    with storage.whole(place) as folder:
        np.savez(folder / "tokens.npz", **arrays)
        named = {"rows": [[row.id, row.slice] for row in kept], "untrainable": untrainable, "failed": failed}
        storage.write_json(folder / "rows.json", named)
    for old in sorted(place.parent.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


def _read(place: Path) -> Made:
    import numpy as np

    storage.verify(place)
    named = parsing.read_json(place / "rows.json")
    with np.load(place / "tokens.npz") as held:
        ids, trained, ends = held["ids"].tolist(), held["trained"].tolist(), held["lengths"].cumsum().tolist()
    labels = [token if flag else MASKED for token, flag in zip(ids, trained)]
    spans = zip(named["rows"], [0, *ends], ends)
    kept = [Encoded(name, ids[low:high], labels[low:high], part) for (name, part), low, high in spans]
    failed = {name: [(row, why) for row, why in found] for name, found in named["failed"].items()}
    return kept, named["untrainable"], failed
