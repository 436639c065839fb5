"""Count the names that do not say what they hold: participles, pronouns and bare prepositions bound as names.

    python tools/count_names.py            the share in workbench/ and widgets/, the commonest names, the worst files
    python tools/count_names.py --most 3   the same, and exit code 1 if the share is above 3 percent
    python tools/count_names.py --most-any 150   exit code 1 if ``Any`` stands more often in workbench/

A bound name is a parameter, a target of an assignment, a loop or a ``with``, a function or a class. ``trained`` or
``found`` alone says what was done; ``trained_tokens`` or ``matches`` says what there is.

``Any`` is a type that says nothing; it is counted as a word, imports included.
"""

import argparse
import ast
import re
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
    paths = (path for name in FOLDERS for path in (folder / name).rglob("*.py"))
    files = sorted(path for path in paths if "node_modules" not in path.parts)
    return {str(path.relative_to(folder)): Counter(bound_names(ast.parse(path.read_text()))) for path in files}


def count_any(folder: Path) -> Counter[str]:
    """For each file of the package how often the word ``Any`` stands in it."""
    files = sorted((folder / FOLDERS[0]).rglob("*.py"))
    return Counter({str(path.relative_to(folder)): len(re.findall(r"\bAny\b", path.read_text())) for path in files})


def main() -> None:
    """Print the shares; exit 1 if one is above ``--most`` or ``--most-any``."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--most", type=float, default=100.0, help="percent")
    options.add_argument("--most-any", type=int, default=10**6, help="words")
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
    any_words = count_any(chosen.root)
    print(f"{any_words.total()} times Any:", ", ".join(f"{file} {number}" for file, number in any_words.most_common(5)))
    sys.exit(share > chosen.most or any_words.total() > chosen.most_any)


if __name__ == "__main__":
    main()
