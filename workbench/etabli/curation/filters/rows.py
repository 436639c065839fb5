"""Filters that look at a row by itself: its language, its length, its quality, and the user's own rules."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from etabli.checks import custom_rules, language
from etabli.core.contracts import Reason
from etabli.core.errors import BadInput
from etabli.curation.features import RowFeatures
from etabli.curation.filters.base import Filter, FilterInput
from etabli.curation.texts import split_words
from etabli.data.catalogue import CODES

# Codes of answers that are bad to learn from. Personal data and secrets are not here: a person decides about them.
QUALITY = (
    *("ai-disclaimer", "refusal", "placeholder", "truncated-answer", "repetition", "leaked-template"),
    *("merged-rows", "unseen-media", "wrong-language", "empty-answer", "mojibake"),
)


class Language(Filter):
    """Rows in a language that is not wanted. A row whose language is not clear (short, mixed) stays."""

    filter: Literal["language"] = "language"
    keep: tuple[str, ...] = Field(min_length=1)

    @field_validator("keep")
    @classmethod
    def _check_languages(cls, keep: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [lang for lang in keep if language.base_code(lang) is None]:
            raise ValueError(f"no language that can be told: {', '.join(unknown)}; write en, fr, zh")
        return keep

    def find(self, features: RowFeatures, filter_input: FilterInput) -> dict[int, Reason]:
        """Return the rows in another language."""
        wanted_codes = {language.base_code(lang) for lang in self.keep}
        return {
            index: self.reason("language", f"It is {features.languages[index]}, not {', '.join(self.keep)}.")
            for index in filter_input.order
            if features.languages[index] and features.languages[index] not in wanted_codes
        }


class Length(Filter):
    """Rows whose answer (or whole text) has too few or too many characters or words."""

    filter: Literal["length"] = "length"
    of: Literal["answer", "row"] = "answer"
    unit: Literal["characters", "words"] = "characters"
    least: int = Field(1, ge=0)
    most: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _check_order(self) -> "Length":
        if self.most is not None and self.most < self.least:
            raise ValueError(f"most ({self.most}) is less than least ({self.least}): no row would stay")
        return self

    def find(self, features: RowFeatures, filter_input: FilterInput) -> dict[int, Reason]:
        """Return the rows that are too short or too long."""
        texts = features.answers if self.of == "answer" else features.texts
        reasons = {}
        for index in filter_input.order:
            size = len(texts[index]) if self.unit == "characters" else len(split_words(texts[index]))
            if size < self.least:
                limit = f"fewer than {self.least}"
            elif self.most is not None and size > self.most:
                limit = f"more than {self.most}"
            else:
                continue
            reasons[index] = self.reason("length", f"Its {self.of} has {size} {self.unit}, {limit}.", size)
        return reasons


class Quality(Filter):
    """Rows in which ``etabli data check`` finds one of these codes."""

    filter: Literal["quality"] = "quality"
    codes: tuple[str, ...] = Field(QUALITY, min_length=1)

    @field_validator("codes")
    @classmethod
    def _check_codes(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [code for code in codes if code not in CODES]:
            raise ValueError(f"no such code as {', '.join(unknown)}: docs/checks.md lists all")
        return codes

    def find(self, features: RowFeatures, filter_input: FilterInput) -> dict[int, Reason]:
        """Return the rows with one of the codes; the reason names all codes."""
        reasons = {}
        for index in filter_input.order:
            findings = [finding for finding in features.findings.get(index, ()) if finding.code in self.codes]
            if findings:
                names = ", ".join(dict.fromkeys(finding.code for finding in findings))
                why = f"{names}: {findings[0].why} ({findings[0].excerpt})"
                reasons[index] = self.reason("quality", why, len(findings))
        return reasons


class Own(Filter):
    """Rows found by the user's own filters and checks in a Python file (``etabli.own_filter``, ``own_check``)."""

    reversible: ClassVar[bool] = False

    filter: Literal["own"] = "own"
    rules: str = Field(min_length=1)

    def find(self, features: RowFeatures, filter_input: FilterInput) -> dict[int, Reason]:
        """Return the rows that the rules find.

        Raises:
            BadInput: a rule raised an exception, so that its answer is not known.
        """
        rules, reasons = custom_rules.load_rules(self.rules), {}
        for index in filter_input.order:
            row = features.rows[index]
            findings = [finding for rule in rules for finding in rule.findings(row, index, None)]
            for finding in findings:
                if finding.code == custom_rules.RAISED:
                    raise BadInput(f"row {row['id']}: {finding.why}")
            if findings:
                reasons[index] = self.reason("own", f"{findings[0].code}: {findings[0].why}")
        return reasons
