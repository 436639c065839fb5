"""Count the names that do not say what they hold: participles, pronouns and bare prepositions bound as names.

    python tools/count_names.py            the share in workbench/ and widgets/, the commonest names, the worst files
    python tools/count_names.py --most 3   the same, and exit code 1 if the share is above 3 percent

A bound name is a parameter, a target of an assignment, a loop or a ``with``, a function or a class. ``trained`` or
``found`` alone says what was done; ``trained_tokens`` or ``matches`` says what there is.
"""

import argparse
import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

WORDS = Path(__file__).with_name("vague_names.txt").read_text().split()
# Terms of the field and nouns that look like participles or prepositions.
NOUNS = {
    "run",
    "read",
    "set",
    "split",
    "out",
    "seed",
    "speed",
    "feed",
    "need",
    "bed",
    "red",
    "embedded",
    "packed",
    "id",
}
VAGUE = set(WORDS) - NOUNS
FOLDERS = ("workbench", "widgets")


def is_vague(name: str) -> bool:
    """Is the name a participle, a pronoun or a preposition, and nothing else?"""
    word = name.strip("_").lower()
    return word in VAGUE or (word.endswith("ed") and len(word) > 3 and "_" not in word and word not in NOUNS)


def bound_names(tree: ast.AST) -> Iterator[str]:
    """Every name that a module binds, as often as it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name


def count(folder: Path) -> dict[str, Counter]:
    """For each file how often it binds which name."""
    files = sorted(path for name in FOLDERS for path in (folder / name).rglob("*.py"))
    return {str(path.relative_to(folder)): Counter(bound_names(ast.parse(path.read_text()))) for path in files}


def main() -> None:
    """Print the share; exit 1 if it is above ``--most``."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--most", type=float, default=100.0, help="percent")
    options.add_argument("--root", type=Path, default=Path(__file__).parents[1])
    chosen = options.parse_args()
    files = count(chosen.root)
    names = sum(files.values(), Counter())
    vague = Counter({name: number for name, number in names.items() if is_vague(name)})
    share = 100 * vague.total() / names.total()
    print(f"{vague.total()} of {names.total()} bound names say nothing: {share:.1f} %")
    print("commonest:", ", ".join(f"{name} {number}" for name, number in vague.most_common(40)))
    worst = sorted(((sum(n for name, n in c.items() if is_vague(name)), f) for f, c in files.items()), reverse=True)
    print("\n".join(f"{number:5} {file}" for number, file in worst[:15] if number))
    sys.exit(share > chosen.most)


if __name__ == "__main__":
    main()
