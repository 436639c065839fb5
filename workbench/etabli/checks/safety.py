"""Personal data, secrets and toxic language. Numbers count only if their checksum is right."""

import ipaddress
import re
from collections.abc import Iterator
from functools import cache
from importlib import util
from pathlib import Path

from etabli.core import secret_shapes
from etabli.data.notes import Note, excerpt, masked

# Regions in which a number without +country is looked up, by language: a telephone number means nothing without one.
REGIONS = {"en": ("US", "GB"), "fr": ("FR",)}
# Domains that belong to nobody (RFC 2606), and those that people write when they mean any.
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
_FICTION = re.compile(r"55501\d\d\Z")  # the block that North America keeps for films


def check(text: str, where: str, lang: str | None) -> Iterator[Note]:
    """Personal data and secrets in one text. Excerpts are masked: a report must not be a second leak."""
    text = text.translate(_BLANKS)
    if "@" in text:
        for found in _EMAIL.finditer(text):
            if not _RESERVED.search(found[0]):
                yield Note("pii-email", where, masked(found[0]))
                break
    if _DIGITS.search(text):
        yield from _numbers(text, where, lang)
    if "." in text and (address := next(filter(_public, _IP.finditer(text)), None)):
        yield Note("pii-ip", where, excerpt(address[0]))
    for shape, match in secret_shapes.findings(text):
        why = f"This has the form of {shape.name}. Whoever has the data has it."
        yield Note("secret", where, masked(match[0]), why)


def _numbers(text: str, where: str, lang: str | None) -> Iterator[Note]:
    taken: list[tuple[int, int]] = []
    for code, pattern, valid in (("pii-iban", _IBAN, _iban), ("pii-nir", _NIR, _nir), ("pii-card", _CARD, _card)):
        found = next((hit for hit in pattern.finditer(text) if valid(hit[0])), None)
        if found:
            taken.append(found.span())
            yield Note(code, where, masked(found[0]))
    if number := _phone(_SLASHED.sub(lambda hit: hit[0].replace("/", " "), text), lang, taken):
        yield Note("pii-phone", where, masked(number))


def _iban(said: str) -> bool:
    """Is one of these beginnings an IBAN? The next words may look like a part of it."""
    from stdnum import iban

    digits = re.sub(r"[ -]", "", said)
    return any(iban.is_valid(digits[:size], check_country=False) for size in range(min(34, len(digits)), 14, -1))


def _nir(said: str) -> bool:
    from stdnum.fr import nir

    return nir.is_valid(re.sub(r"[ .]", "", said))


def _card(said: str) -> bool:
    from stdnum import luhn

    return luhn.is_valid(re.sub(r"\D", "", said))


def _phone(text: str, lang: str | None, taken: list[tuple[int, int]]) -> str | None:
    import phonenumbers

    for region in REGIONS["en"] + REGIONS["fr"] if lang is None else REGIONS.get(lang, (None,)):
        for match in phonenumbers.PhoneNumberMatcher(text, region, max_tries=200):
            inside = any(start <= match.start < end for start, end in taken)
            if (
                not inside
                and not _FICTION.search(str(match.number.national_number))
                and _looks_dialled(match.raw_string)
            ):
                return match.raw_string
    return None


def _looks_dialled(said: str) -> bool:
    """Ten bare digits are as often an order number: a telephone number has a plus, a bracket, a gap or a 0 first."""
    return said[0] in "+(0" or bool(re.search(r"\d[ ./()-]+\d", said))


def _public(found: re.Match) -> bool:
    try:
        return ipaddress.ip_address(found[0]).is_global and not re.search(
            r"(?i)v(?:ersion)?\.? ?\Z", found.string[: found.start()]
        )
    except ValueError:
        return False


# --- toxicity: word lists, if their package is there ------------------------------------------------------------------

LISTS = "safetext"


@cache
def toxic_languages() -> tuple[str, ...]:
    """Languages that there is a word list for; none without the package."""
    folder = _lists()
    return tuple(sorted(path.name for path in folder.iterdir() if (path / "words.txt").is_file())) if folder else ()


@cache
def _lists() -> Path | None:
    found = util.find_spec(LISTS)  # not imported: it would bring a web client along
    return Path(next(iter(found.submodule_search_locations))) / "languages" if found else None


_WORD = re.compile(r"\w+")
# On the lists, and as often plain history, medicine, cooking or song: on the Alpaca sample all ten hits were such.
_PLAIN = frozenset(
    """
    gay lesbian homosexual bisexual queer dyke nazi nazis rape raped rapes raping rapist incest penetrate penetrated
    penetrates penetration anus anal rectum breast breasts nipple nipples penis vagina vulva genitals testicle testicles
    uterus womb semen sperm pubic orgasm nude nudity naked sex sexual sexuality sexy erotic virgin lust facial prick
    pricks screw screws screwed suck sucks sucking bloody damn hell god kill killing murder suicide drug drugs cocaine
    heroin blow beaver ball balls bang cock strip fat dick wang bomb xx xxx make_love
    ass darn dirty tit mettre tais-toi con bite chatte queue sexe nu nue cul sein seins mort tuer gland bander
    """.split()  # noqa: SIM905 - easier to read and to add to than a hundred quoted words
)


@cache
def _words(lang: str) -> dict[str, tuple[str, ...]]:
    """What is on the list, by its first word: a look at each word of a text is faster than any pattern of them all."""
    said = (_lists() / lang / "words.txt").read_text(encoding="utf-8").splitlines()
    by_first: dict[str, tuple[str, ...]] = {}
    for entry in sorted({word.strip().casefold() for word in said if len(word.strip()) > 2}):
        if entry.replace(" ", "_") in _PLAIN:
            continue
        if first := _WORD.search(entry):
            by_first[first[0]] = (*by_first.get(first[0], ()), entry)
    return by_first


def toxicity(text: str, where: str, lang: str | None) -> Iterator[Note]:
    """Words of the list of that language."""
    if lang is None or lang not in toxic_languages():
        return
    listed, low = _words(lang), text.casefold()
    for first in sorted(listed.keys() & set(_WORD.findall(low))):
        for entry in listed[first]:
            if entry in low and (at := re.search(rf"(?<!\w){re.escape(entry)}(?!\w)", low)):
                yield Note(
                    "toxicity", where, excerpt(text, at.start()), f"{entry!r} is on the {lang} word list of {LISTS}."
                )
                return
