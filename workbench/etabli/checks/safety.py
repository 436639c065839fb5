"""Find personal data and secrets in texts. Numbers count only if their checksum is right."""

import ipaddress
import re
from collections.abc import Iterator

from etabli.core import secret_shapes
from etabli.data.notes import Note, excerpt, mask_secret

# Regions of numbers without +country, by language of the row: without a region a telephone number means nothing.
REGIONS = {"en": ("US", "GB"), "fr": ("FR",)}
# Domains that nobody owns (RFC 2606), and those that people use as examples.
_RESERVED = re.compile(
    r"@(?:[\w-]+\.)*(?:example\.(?:com|org|net)|[\w-]+\.(?:example|test|invalid|localhost))\Z"
    r"|@(?:domain|your-?domain|company|your-?company|email|mail|website|site)\.com\Z|\Agit@",
    re.IGNORECASE,
)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.%+-]{1,64}@(?:[\w-]{1,63}\.)+[^\W\d_]{2,24}\b")
_BLANKS = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2011": "-"})
_DIGITS = re.compile(r"\d[\d .()/-]{6,}\d")
_SLASHED = re.compile(r"\b0\d(?:/\d\d){4}\b")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{1,4}){3,8}")
_CARD = re.compile(
    r"(?<![\d.])(?:[2-6]\d{3}(?:[ .-]?\d{4}){2}[ .-]?\d{1,7}|3[0478]\d{2}[ .-]?\d{6}[ .-]?\d{4,5})(?!\d|\.\d)"
)
_NIR = re.compile(r"(?<!\d)[1278][ .]?\d{2}[ .]?\d{2}[ .]?(?:\d{2}|2[AB])[ .]?\d{3}[ .]?\d{3}[ .]?\d{2}(?!\d)")
_IP = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d|-\d)")
_FICTION = re.compile(r"55501\d\d\Z")  # numbers that North America reserves for films


def check(text: str, where: str, lang: str | None) -> Iterator[Note]:
    """Yield notes on personal data and secrets in a text. Excerpts are masked, so that a report leaks nothing.

    Args:
        where: the place of the text in its row; lang: the row's language, which tells the region of phone numbers.
    """
    text = text.translate(_BLANKS)
    if "@" in text:
        for match in _EMAIL.finditer(text):
            if not _RESERVED.search(match[0]):
                yield Note("pii-email", where, mask_secret(match[0]), span=match.span())
                break
    if _DIGITS.search(text):
        yield from _check_numbers(text, where, lang)
    if "." in text and (address := next(filter(_is_public_address, _IP.finditer(text)), None)):
        yield Note("pii-ip", where, excerpt(address[0]), span=address.span())
    for shape, match in secret_shapes.findings(text):
        why = f"This has the form of {shape.name}. Whoever has the data has it."
        yield Note("secret", where, mask_secret(match[0]), why, match.span())


def _check_numbers(text: str, where: str, lang: str | None) -> Iterator[Note]:
    spans: list[tuple[int, int]] = []
    for code, pattern, is_valid in (
        ("pii-iban", _IBAN, _is_iban),
        ("pii-nir", _NIR, _is_nir),
        ("pii-card", _CARD, _is_card),
    ):
        match = next((match for match in pattern.finditer(text) if is_valid(match[0])), None)
        if match:
            spans.append(match.span())
            yield Note(code, where, mask_secret(match[0]), span=match.span())
    phone = _find_phone(_SLASHED.sub(lambda match: match[0].replace("/", " "), text), lang, spans)
    if phone:
        start, number = phone
        yield Note("pii-phone", where, mask_secret(number), span=(start, start + len(number)))


def _is_iban(text: str) -> bool:
    """Is a beginning of the text an IBAN? The words after it may look like a part of it."""
    from stdnum import iban

    digits = re.sub(r"[ -]", "", text)
    return any(iban.is_valid(digits[:size], check_country=False) for size in range(min(34, len(digits)), 14, -1))


def _is_nir(text: str) -> bool:
    from stdnum.fr import nir

    return bool(nir.is_valid(re.sub(r"[ .]", "", text)))


def _is_card(text: str) -> bool:
    from stdnum import luhn

    return bool(luhn.is_valid(re.sub(r"\D", "", text)))


def _find_phone(text: str, lang: str | None, other_spans: list[tuple[int, int]]) -> tuple[int, str] | None:
    """Return where the first telephone number that is not inside of another number begins, and the number."""
    import phonenumbers

    all_regions = REGIONS["en"] + REGIONS["fr"]
    for region in all_regions if lang is None else REGIONS.get(lang, (None,)):
        for match in phonenumbers.PhoneNumberMatcher(text, region, max_tries=200):
            if any(start <= match.start < end for start, end in other_spans):
                continue
            if not _FICTION.search(str(match.number.national_number)) and _looks_like_phone(match.raw_string):
                return match.start, match.raw_string
    return None


def _looks_like_phone(text: str) -> bool:
    """Does it have a plus, a bracket or a zero first, or a gap? Ten bare digits are as often an order number."""
    return text[0] in "+(0" or bool(re.search(r"\d[ ./()-]+\d", text))


def _is_public_address(match: re.Match[str]) -> bool:
    """Is it a public IP address, and not a version number?"""
    try:
        address = ipaddress.ip_address(match[0])
    except ValueError:
        return False
    return address.is_global and not re.search(r"(?i)v(?:ersion)?\.? ?\Z", match.string[: match.start()])
