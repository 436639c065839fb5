"""Rule packs: phrases of refusals, disclaimers and missing pictures; one module for each language.

A language without a pack is reported as *not run*.
"""

from etabli.checks.rules import en, fr

PACKS = {"en": en.RULES, "fr": fr.RULES}
