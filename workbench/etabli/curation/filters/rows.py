"""What is wrong with a row by itself: its language, its length, its quality, or what your own rules say."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from etabli.checks import custom_rules, language
from etabli.core.contracts import Reason
from etabli.core.errors import BadInput
from etabli.curation.features import View
from etabli.curation.filters.base import Asked, Filter
from etabli.curation.texts import words
from etabli.data.catalogue import CODES

# What makes an answer bad to learn from; personal data and secrets are for a person to decide about.
QUALITY = (
    "ai-disclaimer", "refusal", "placeholder", "truncated-answer", "repetition", "leaked-template", "merged-rows",
    "unseen-media", "wrong-language", "empty-answer", "mojibake",
)  # fmt: skip


class Language(Filter):
    """Rows in a language that is not wanted. One that can't be told (short, mixed) stays."""

    filter: Literal["language"] = "language"
    keep: tuple[str, ...] = Field(min_length=1)

    @field_validator("keep")
    @classmethod
    def _told(cls, keep: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [lang for lang in keep if language.base(lang) is None]:
            raise ValueError(f"no language that can be told: {', '.join(unknown)}; write en, fr, zh")
        return keep

    def find(self, view: View, asked: Asked) -> dict[int, Reason]:
        """Rows told to be in another language."""
        wanted = {language.base(lang) for lang in self.keep}
        why = "It is {}, not {}."
        return {
            row: self.reason("language", why.format(view.languages[row], ", ".join(self.keep)))
            for row in asked.order
            if view.languages[row] and view.languages[row] not in wanted
        }


class Length(Filter):
    """Rows whose answer (or whole text) has too few or too many characters or words."""

    filter: Literal["length"] = "length"
    of: Literal["answer", "row"] = "answer"
    unit: Literal["characters", "words"] = "characters"
    least: int = Field(1, ge=0)
    most: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> "Length":
        if self.most is not None and self.most < self.least:
            raise ValueError(f"most ({self.most}) is less than least ({self.least}): no row would stay")
        return self

    def find(self, view: View, asked: Asked) -> dict[int, Reason]:
        """Rows that are too short or too long."""
        texts = view.answers if self.of == "answer" else view.said
        found = {}
        for row in asked.order:
            size = len(texts[row]) if self.unit == "characters" else len(words(texts[row]))
            if size < self.least:
                found[row] = self.reason(
                    "length", f"Its {self.of} has {size} {self.unit}, fewer than {self.least}.", size
                )
            elif self.most is not None and size > self.most:
                found[row] = self.reason(
                    "length", f"Its {self.of} has {size} {self.unit}, more than {self.most}.", size
                )
        return found


class Quality(Filter):
    """Rows in which ``etabli data check`` finds one of these codes."""

    filter: Literal["quality"] = "quality"
    codes: tuple[str, ...] = Field(QUALITY, min_length=1)

    @field_validator("codes")
    @classmethod
    def _known(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [code for code in codes if code not in CODES]:
            raise ValueError(f"no such code as {', '.join(unknown)}: docs/checks.md lists all")
        return codes

    def find(self, view: View, asked: Asked) -> dict[int, Reason]:
        """Rows with one of the codes; all of them are named."""
        found = {}
        for row in asked.order:
            held = [finding for finding in view.findings.get(row, ()) if finding.code in self.codes]
            if held:
                names = ", ".join(dict.fromkeys(finding.code for finding in held))
                found[row] = self.reason("quality", f"{names}: {held[0].why} ({held[0].excerpt})", len(held))
        return found


class Own(Filter):
    """Rows that a filter or a check in a Python file of your own finds (``etabli.own_filter``, ``own_check``)."""

    protects: ClassVar[bool] = False

    filter: Literal["own"] = "own"
    rules: str = Field(min_length=1)

    def find(self, view: View, asked: Asked) -> dict[int, Reason]:
        """Rows your rules find; a rule that raises stops everything: what it would have said is not known."""
        applied, found = custom_rules.rules(self.rules), {}
        for row in asked.order:
            held = [finding for rule in applied for finding in rule.findings(view.rows[row], row, None)]
            raised = next((finding for finding in held if finding.code == custom_rules.RAISED), None)
            if raised:
                raise BadInput(f"row {view.rows[row]['id']}: {raised.why}")
            if held:
                found[row] = self.reason("own", f"{held[0].code}: {held[0].why}")
        return found
