"""Secrets that are recognised by their shape: one table, for covering secrets and for the data check's findings."""

import functools
import re
from collections.abc import Iterator
from typing import NamedTuple


class Shape(NamedTuple):
    """One kind of secret.

    ``name``: as a report says it. ``hints``: texts, one of which stands in every match (compared in lower case; they
    keep the search fast). ``pattern``: if it has a group ``secret``, that group alone is the secret. ``source``: who
    documents the format. ``in_data``: sure enough for a finding about a person's own data; all are covered.
    """

    name: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    source: str
    in_data: bool


_PARTS = {
    # A key begins where no word goes on; after an escaped line break (\\n) too, as ``repr`` and JSON write it.
    "<start>": r"(?:(?<![\w-])|(?<=\\[nrt]))",
    # Between the name of a secret and the secret: = or :, with quotes and escaped quotes around; === compares.
    "<is>": r"[\"'\\]{0,2}\s{0,3}(?::=|=>|=(?!==)|:)\s{0,3}(?:\\?[\"'])?",
    # A character of a secret. An escaped one counts as a pair, so that JSON that is covered stays JSON.
    "<character>": r"(?:\\.|[^\s\"'\\,;<>{}])",
    # A call in a line of code, as tracebacks show it, is no secret.
    "<no call>": r"(?![\w.\[\]]{1,64}\()",
    "<digit>": r"(?=[^\s\"',;<>{}]{0,256}\d)",
    "<password>": r"(?:password|passwd|passphrase|(?<![a-z])pwd|mot de passe|\bmdp)",
    "<key>": (
        r"(?:(?:api|access|account|private)[ _-]?key(?: \w{2,12}){0,2}|(?:auth|access|session|refresh)[_-]?token"
        r"|secret(?:[_-]?access)?(?:[_-]?key)?|credentials?)"
    ),
    # What stands where a password would stand, and is none.
    "<not>": (
        r"(?!(?:string|str|none|null|true|false|required|optional|password|passwd|secret|hidden|unknown|empty|invalid)\b)"
        r"(?![/~.$*%{<(\[])"
    ),
}

# One line each: name, hints, finding or covered, who documents the format, pattern; two blanks or more between them.
_TABLE = r"""
an AWS access key    akia asia    finding    docs.aws.amazon.com    <start>(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])
a GitHub token    ghp_ gho_ ghu_ ghs_ ghr_ github_pat_    finding    docs.github.com    <start>(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{22,})
a GitLab token    glpat- glptt- gldt- glrt- glcbt- glsoat-    finding    docs.gitlab.com    <start>gl(?:pat|ptt|dt|rt|cbt|soat)-[\w-]{16,}
a Hugging Face token    hf_    finding    huggingface.co/docs    <start>hf_(?=[a-z]{0,64}[A-Z0-9])[A-Za-z0-9]{16,}
an Anthropic key    sk-ant-    finding    docs.anthropic.com    <start>sk-ant-[\w-]{16,}
an OpenAI key    sk-    finding    platform.openai.com    <start>sk-(?!ant-)(?:(?=[\w-]{0,256}\d)(?=[\w-]{0,256}[A-Z])[\w-]{16,}|[A-Za-z0-9]{32,})
an OpenRouter key    sk-or-    finding    openrouter.ai/docs    <start>sk-or-v1-[0-9a-f]{16,}
a Google API key    aiza    finding    cloud.google.com/docs    <start>AIza[\w-]{30,}
a Google access token    ya29.    finding    developers.google.com/identity    <start>ya29\.[\w-]{16,}
a Google client secret    gocspx-    finding    developers.google.com/identity    <start>GOCSPX-[\w-]{20,}
a Slack token    xox    finding    api.slack.com/authentication    <start>xox[abeprs]-[\w-]{10,}
a Slack webhook    hooks.slack.com    finding    api.slack.com/messaging    hooks\.slack\.com/services/(?P<secret>[\w/]{12,})
a Stripe key    k_live_    finding    docs.stripe.com/keys    <start>[rs]k_live_[A-Za-z0-9]{16,}
an npm token    npm_    finding    docs.npmjs.com    <start>npm_[A-Za-z0-9]{30,}
a PyPI token    pypi-age    finding    pypi.org/help    <start>pypi-AgE[\w-]{16,}
a SendGrid key    sg.    finding    docs.sendgrid.com    <start>SG\.[\w-]{16,}\.[\w-]{16,}
a Telegram bot token    :aa    finding    core.telegram.org/bots    (?<!\d)\d{8,10}:AA[\w-]{20,}
a Weights & Biases key    wandb_v    finding    docs.wandb.ai    <start>wandb_v\d{1,2}_[\w-]{16,}
a Weights & Biases key    wandb    finding    docs.wandb.ai    (?i:wandb)[^\n]{0,60}?(?<![0-9a-f])(?P<secret>[0-9a-f]{40})(?![0-9a-f])
a Kaggle key    kgat_    finding    kaggle.com/docs/api    <start>KGAT_[0-9a-f]{24,}
a Kaggle key    key    finding    kaggle.com/docs/api    (?<!\w)key\\?["']\s{0,3}:\s{0,3}\\?["'](?P<secret>[0-9a-f]{32})(?![0-9a-f])
a Mistral key    mistral    finding    docs.mistral.ai    (?i:mistral)[^\n]{0,60}?(?<![\w-])(?P<secret>(?=[a-z0-9]{0,31}[A-Z])(?=[A-Z0-9]{0,31}[a-z])(?=[A-Za-z]{0,31}\d)[A-Za-z0-9]{32})(?![\w-])
a Groq, xAI or NVIDIA key    gsk_ xai- nvapi-    finding    console.groq.com, docs.x.ai, build.nvidia.com    <start>(?:gsk_|xai-|nvapi-)[\w-]{20,}
a Replicate key    r8_    finding    replicate.com/docs    <start>r8_\w{20,}
a JSON web token    eyj    finding    RFC 7519    <start>eyJ[\w-]{10,}\.eyJ[\w-]{8,}(?:\.[\w-]{1,4096})?
a private key    private key    finding    RFC 7468    -----BEGIN (?:[A-Z]{1,20} ){0,3}PRIVATE KEY[\s\S]*?(?:-----END (?:[A-Z]{1,20} ){0,3}PRIVATE KEY[A-Z ]{0,7}-----|\Z)
a password in an address    :/    finding    RFC 3986    [A-Za-z][A-Za-z0-9+.-]{1,15}:/{1,2}[^\s:/@"'<>]{0,256}:(?!\{|\$|<|\*|(?:my)?(?:password|secret|pass|pwd)@)(?P<secret>[^\s/@"'<>]{3,256})@
a token in an address    ://    covered    RFC 3986    ://(?P<secret>(?=[\w.~-]{0,256}\d)[\w.~-]{20,256})@
an Azure key    accountkey=    finding    learn.microsoft.com/azure    (?i:accountkey)=(?P<secret>[A-Za-z0-9+/]{40,}={0,2})
a signed address    sig=    covered    learn.microsoft.com/azure    [?&]sig=(?P<secret>[\w%+/-]{20,}={0,2})
an authorisation header    authorization    finding    RFC 9110    (?i:authorization)<is>(?i:bearer|basic|token)\s{1,3}(?P<secret>(?=[\w+/=.~-]{0,256}\d)[\w+/=.~-]{16,})
an authorisation header    bearer basic    covered    RFC 6750    (?i:authorization<is>(?:bearer|basic)|bearer(?=\s{1,3}\S{0,256}\d\S{8,}))\s{1,3}(?P<secret>[\w+/=.~-]{8,})
a key in a variable    key token secret    finding    names that programs give    (?:API_?KEY|api_?key|TOKEN|_token|SECRET|secret_(?:access_)?key)\s{0,3}[=:]\s{0,3}['"]?(?P<secret>(?=[\w+/-]{0,256}\d)(?=[\w+/-]{0,256}[A-Za-z])[\w+/-]{20,})
a key by its name    key token secret credential    covered    names that programs give    (?i:<key><is>)<no call><digit>(?P<secret><character>{8,})
a token by its name    token    covered    names that programs give    (?i:token<is>)<no call><digit>(?=[^\s"',;]{0,256}[A-Za-z])(?P<secret><character>{16,})
a password    passw pwd mot mdp    finding    names that programs give    (?i:\b(?:password|passwd|pwd|mot de passe|mdp) ?[:=] ?['"]?)(?!/)(?P<secret>(?=\S{0,40}\d)(?=\S{0,40}[A-Za-z])(?:\\.|[^\s'"\\<>{}]){8,40})
a password by its name    passw passphrase pwd mot mdp    covered    names that programs give    (?i:<password><is>)<not><no call><digit>(?P<secret><character>{8,})
a password in quotes    passw passphrase pwd    covered    names that programs give    (?i:<password>["'\\]{0,2}\s{0,3}[=:]\s{0,3}\\?["']<not>)(?P<secret>(?:[^\s"'\\<>{}]){6,256}+)(?=\\?["'])
a password without digits    passw passphrase pwd    covered    names that programs give    (?i:<password>=<not>)(?P<secret>[^\s"'\\<>{}()\[\],;&]{6,256}+)(?![(\[])
a password without digits    passw passphrase    covered    names that programs give    (?i:<password>: {0,3}<not>)(?P<secret>(?=\S{0,64}(?:[!@#$%^&*+=~|]|[a-z][A-Z]|[-_]\w{1,32}[-_]))<character>{8,256})
a password in a netrc file    login    covered    gnu.org: the .netrc file    (?i:\blogin)\s{1,9}\S{1,256}\s{1,9}(?i:password)\s{1,9}(?P<secret>(?:\\.|[^\s"'\\]){6,256})
"""


def _shape(line: str) -> Shape:
    """One line of the table."""
    name, hints, use, source, pattern = re.split(r" {2,}", line)
    for part, meaning in _PARTS.items():
        pattern = pattern.replace(part, meaning)
    return Shape(name, tuple(hints.split(" ")), re.compile(pattern), source, use == "finding")


@functools.cache
def shapes() -> tuple[Shape, ...]:
    """The whole table. Its patterns are compiled with the first text that is looked at, not with the import."""
    return tuple(map(_shape, _TABLE.strip().splitlines()))


_COLOURS = re.compile(r"\x1b\[[0-9;]{0,32}m")
EXCERPT_LENGTH = (
    4  # characters of a key that stay, where they are the shape's own beginning: enough to tell which it was
)


def findings(text: str) -> Iterator[tuple[Shape, re.Match[str]]]:
    """Each shape of ``in_data`` that the text has, with its first match."""
    low = text.lower()
    for shape in shapes():
        if shape.in_data and any(hint in low for hint in shape.hints) and (match := shape.pattern.search(text)):
            yield shape, match


def spans(text: str) -> list[tuple[int, int]]:
    """Where secrets stand: start and end of what is to be covered, unordered; they may overlap."""
    low = text.lower()
    likely = {number: shape for hint, several in _by_hint() if hint in low for number, shape in several}
    if likely and "\x1b" in text:  # a colour before a key must not make the key the end of a word
        text = _COLOURS.sub(lambda colour: " " * len(colour[0]), text)
    return [_span(match) for shape in likely.values() for match in shape.pattern.finditer(text)]


@functools.cache
def _by_hint() -> list[tuple[str, list[tuple[int, Shape]]]]:
    hints = dict.fromkeys(hint for shape in shapes() for hint in shape.hints)
    return [(hint, [(n, shape) for n, shape in enumerate(shapes()) if hint in shape.hints]) for hint in hints]


def _span(match: re.Match[str]) -> tuple[int, int]:
    if "secret" in match.re.groupindex:
        return match.span("secret")
    return match.start() + EXCERPT_LENGTH * ("\\" not in match[0][:EXCERPT_LENGTH]), match.end()
