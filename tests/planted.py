"""Secrets of every shape, put together at run time, so that no scanner finds any of them in a file."""

import random
import string

ALL = string.ascii_letters + string.digits
HEX = string.hexdigits.lower()[:16]


def letters(count, kind=ALL):
    """Letters that look drawn by lot; at least one of each kind that there is."""
    dice = random.Random(f"{count}{kind}")
    return "".join(["aB3"[: 3 if kind is ALL else 0], *(dice.choice(kind) for _ in range(count - 3 * (kind is ALL)))])


# name: the text around, and the secret
SHAPES = {
    "AWS id": ("{}", "AK" + "IA" + letters(16, string.ascii_uppercase)),
    "AWS secret": ("aws_secret_access_key = {}", letters(38) + "/+"),
    "AWS secret, camel case": ('{{"SecretAccessKey": "{}"}}', letters(38) + "/+"),
    "GitHub": ("{}", "gh" + "p_" + letters(36)),
    "GitHub, fine-grained": ("{}", "github" + "_pat_" + letters(60)),
    "GitLab": ("{}", "gl" + "pat-" + letters(20)),
    "Hugging Face": ("{}", "h" + "f_" + letters(34)),
    "Anthropic": ("{}", "sk" + "-ant-api03-" + letters(60)),
    "OpenAI": ("{}", "sk" + "-proj-" + letters(60)),
    "OpenRouter": ("{}", "sk" + "-or-v1-" + letters(64, HEX)),
    "Google key": ("{}", "AI" + "za" + letters(35)),
    "Google access": ("{}", "ya" + "29." + letters(80)),
    "Slack": ("{}", "xo" + "xb-" + letters(24)),
    "Slack webhook": ("https://hooks.slack.com/services/{}", "T" + letters(20)),
    "Stripe": ("{}", "sk" + "_live_" + letters(24)),
    "npm": ("{}", "np" + "m_" + letters(36)),
    "PyPI": ("{}", "py" + "pi-AgE" + letters(60)),
    "SendGrid": ("{}", "S" + "G." + letters(22) + "." + letters(43)),
    "Telegram": ("{}", "12345" + "6789:AA" + letters(33)),
    "JSON web token": ("{}", "ey" + "J" + letters(20) + ".eyJ" + letters(20) + "." + letters(20)),
    "W&B": ("{}", "wan" + "db_v1_" + letters(70)),
    "W&B, old": ("wandb: the key {} was refused", letters(40, HEX)),
    "Kaggle": ('{{"username":"anna","key":"{}"}}', letters(32, HEX)),
    "Kaggle, new": ("{}", "KG" + "AT_" + letters(32, HEX)),
    "Mistral": ("mistral refused {}", letters(32)),
    "Replicate": ("{}", "r8" + "_" + letters(37)),
    "address": ("postgresql://anna:{}@example.org/x", "pass" + letters(12)),
    "Azure": ("AccountKey={}", letters(80)),
    "bearer": ("Authorization: Bearer {}", letters(32)),
    "variable": ("MY_API_KEY='{}'", letters(28)),
    "password": ("password: {}", letters(12)),
    "password without digits": ("PASSWORD={}", "correct" + "horse"),
    "password of words": ("password: {}", "correct-" + "horse-battery"),
    "password in quotes": ('"password": "{}"', "correct" + "horse"),
    "netrc": ("machine example.org login anna password {}", "correct" + "horse"),
}
EVERY = "\n".join(f"{number} {around.format(secret)} ." for number, (around, secret) in enumerate(SHAPES.values()))


def leaks(text):
    """The shapes whose secret is still in a text."""
    return [name for name, (_, secret) in SHAPES.items() if secret in text]
