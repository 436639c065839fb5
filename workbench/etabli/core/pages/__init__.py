"""HTML pages: one Jinja environment, which escapes all values, and one theme.

A page loads nothing. It runs only the scripts that its content security policy names by their hashes.
"""

import base64
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from etabli.core.secrets import cover_secrets

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent
BASE_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'"


class SafeHtml(str):
    """HTML, CSS or a script of our own, or sanitised HTML. A template prints it without escaping."""

    __slots__ = ()

    def __html__(self) -> "SafeHtml":
        return self


def render(template: str, **values: object) -> str:
    """Return the page, or part of a page, that a template makes from the values. All values are escaped.

    Args:
        template: a file of this folder, such as the one of the report.
        values: the template's variables. ``scripts``: texts of the scripts that may run; ``images``: whether the page
            has pictures.
    """
    return _environment().get_template(template).render(values)


@functools.cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(FOLDER)
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_without_secrets,
    )
    environment.globals["policy"] = policy
    return environment


def _without_secrets(value: object) -> object:
    """Cover secrets in a text that a template prints. ``SafeHtml`` and other values stay unchanged."""
    return cover_secrets(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def policy(scripts: Sequence[str], images: bool) -> str:
    """Return the content security policy of a page that runs only these scripts, and shows only embedded pictures."""
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    permissions = [f"script-src {hashes}"] * bool(scripts) + ["img-src data: blob:"] * images
    return "; ".join([BASE_POLICY, *permissions])


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
