"""Rule packs: phrases that tell a refusal, a disclaimer, a missing picture; one module a language.

A language without a pack is reported as *not run*, never passed.
"""

from etabli.checks.rules import en, fr

PACKS = {"en": en.RULES, "fr": fr.RULES}
