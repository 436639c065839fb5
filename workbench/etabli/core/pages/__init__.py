"""Every HTML page: one Jinja environment that escapes whatever goes in, and one theme.

A page fetches nothing. It runs only the scripts that its content security policy names by their hashes.
"""

import base64
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etabli.core.secrets import cover_secrets

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent
NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'"


class SafeHtml(str):
    """HTML, CSS or a script that is known to be ours or was sanitised: a template prints it as it is."""

    __slots__ = ()

    def __html__(self) -> "SafeHtml":
        return self


def render(template: str, **values: Any) -> str:
    """The page, or the part of one, that a template of this folder makes of the values. All of them are escaped.

    Args:
        template: a file of this folder, such as ``report.html.j2``.
        values: what it shows. ``scripts``: texts of the scripts that may run; ``images``: whether it has pictures.
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


def _without_secrets(value: Any) -> Any:
    """A text that a template prints, with its secrets covered; what is ``SafeHtml`` or no text stays as it is."""
    return cover_secrets(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def policy(scripts: Sequence[str], images: bool) -> str:
    """The content security policy of a page that runs exactly these scripts and shows pictures that lie in it."""
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    allowed = [f"script-src {hashes}"] * bool(scripts) + ["img-src data: blob:"] * images
    return "; ".join([NOTHING, *allowed])


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
