"""What all rule packs are written with."""

import re


def any_of(*phrases: str) -> re.Pattern:
    """One pattern of several phrases, in small letters or large."""
    return re.compile("|".join(phrases), re.IGNORECASE)
