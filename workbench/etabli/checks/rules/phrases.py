"""Build the patterns of the rule packs."""

import re


def any_of(*phrases: str) -> re.Pattern[str]:
    """Return one pattern that matches any of the phrases, in upper or lower case."""
    return re.compile("|".join(phrases), re.IGNORECASE)
