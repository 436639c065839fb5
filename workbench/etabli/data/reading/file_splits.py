"""The splits that names of files and folders say: ``train-00000-of-00002.parquet`` beside ``test/rows.jsonl``.

Many names hold such a word and mean something else (notes named ``eval``), so a name counts only beside others.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from etabli.core.wording import count_of
from etabli.data.notes import Note, escape_invisible
from etabli.data.reading.columns import NO_COLUMN
from etabli.data.splits import TEST, TRAIN, VALIDATION, split_name, whole_split_name

_SHARD_NUMBER = re.compile(r"[-_.]\d+(-of-\d+)?$")
_WORD_AT_THE_END = re.compile(r"(.*?)[^a-z]*([a-z]+([^a-z]+(set|split|data|sft|gen))?)", re.IGNORECASE)


def tell_splits(paths: Sequence[Path], tables: Collection[Path]) -> dict[Path, str | None]:
    """Return the split of each file, by its name or the innermost folder that is one; None if there is none.

    Args:
        paths: the files, relative to their folder.
        tables: those of them that are tables of rows, and no texts.
    """
    names = {path for file in paths for path in (file, *file.parents) if path != Path()}
    levels: dict[Path, list[Path]] = {}
    for name in sorted(names):
        levels.setdefault(name.parent, []).append(name)
    splits = {name: _split_beside(name, levels[name.parent], name in tables) for name in names}
    return {
        file: next((split for name in (file, *file.parents) if (split := splits.get(name))), None) for file in paths
    }


def _split_beside(name: Path, level: Sequence[Path], is_table: bool) -> str | None:
    """Return the split that a file or a folder is among those beside it."""
    whole_names = {path: whole_split_name(_stem(path)) for path in level}
    if split := whole_names[name]:
        others = {whole_names[path] for path in level if path != name}
        is_beside_splits = TRAIN in others or (bool(others) and None not in others)
        return split if is_table or split == TRAIN or is_beside_splits else None
    if is_table:
        split = _edge_split(name)
        is_extract = any(_stem(path) == _last_word(_stem(name))[1] for path in level)  # mails_test beside mails
        return split if is_extract or TRAIN in map(_edge_split, level) else None
    word, rest = _last_word(_stem(name))
    partners = {other for other, other_rest in map(_last_word, map(_stem, level)) if other_rest == rest}
    return whole_split_name(word) if TRAIN in map(whole_split_name, partners) else None


def _edge_split(name: Path) -> str | None:
    """Return the split that a name begins or ends with: ``test_fr``, ``my_test_set``."""
    stem = _stem(name)
    return whole_split_name(_last_word(stem)[0]) or whole_split_name(re.split(r"[^A-Za-z]", stem)[0])


def _stem(path: Path) -> str:
    stem = path.name.partition(".")[0]
    return _SHARD_NUMBER.sub("", stem)


def _last_word(stem: str) -> tuple[str, str]:
    """Return the last word of a name, with a ``set`` after it, and what stands before it."""
    match = _WORD_AT_THE_END.fullmatch(stem)
    return (match[2], match[1]) if match else ("", stem)


def note_held_out(path: Path, split: str | None) -> tuple[Note, ...]:
    """Return a note for a row that its file's name keeps out of training."""
    if split not in (VALIDATION, TEST):
        return ()
    name = escape_invisible(str(Path(*path.parts[-2:])))
    why = (
        f"By its name or its folder's README.md, {name} is the split {split}: its rows are kept out of training. "
        f"If it is none: --column split={NO_COLUMN}"
    )
    return (Note("split-file", "split", name[:80], why),)


def describe_unused_names(splits: Mapping[Path, str | None]) -> str:
    """Return a sentence about files whose names hold the word of a split and are not used as one; empty without."""
    names = [str(path) for path, split in splits.items() if split is None and _names_held_out(path)]
    shown_names = escape_invisible(", ".join(names[:5]) + ("…" if len(names) > 5 else ""))
    why = "a name holds a word for a split, and no training files are named so beside it"
    return f"{count_of(len(names), 'file is', 'files are')} read as any other: {why}: {shown_names}." if names else ""


def _names_held_out(path: Path) -> bool:
    return any(split_name(_stem(part)) in (VALIDATION, TEST) for part in (path, *path.parents))
