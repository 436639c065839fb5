"""English phrases. Each was tried on the 999 Alpaca rows; precision is in docs/log.md."""

import re


def _any(*phrases: str) -> re.Pattern:
    return re.compile("|".join(phrases), re.IGNORECASE)


_MODEL = r"(?:an? )?(?:AI|artificial intelligence|large language model|language model|virtual assistant|chat ?bot)"

RULES: dict[str, re.Pattern] = {
    # about itself, in the first person; "as an AI engineer" is somebody's job
    "ai-disclaimer": _any(
        rf"\bas {_MODEL}(?: (?:language )?(?:model|assistant|system))?,? (?:\w+ ){{0,6}}?(?:I|my|me)\b",
        rf"\bas {_MODEL}(?: (?:language )?(?:model|assistant))?\s*[,;]",
        rf"\bI(?:'m| am|’m) (?:just |only )?{_MODEL}(?: (?:language )?(?:model|assistant))?(?=[\s,.;])(?! (?:engineer|researcher|expert|scientist|developer|student))",
        r"\bmy (?:training data|knowledge cutoff|programming)\b",
        r"\bI (?:was|am|have been) (?:an? )?(?:\w+ ){0,3}?(?:trained|developed|created|made) by (?:OpenAI|Anthropic|Google|Meta)\b",
    ),
    # an answer that opens by declining; an apology that somebody asked for is none
    "refusal": _any(
        r"\A\W*(?:I(?:'m| am|’m) (?:very |so |really )?sorry|I apologi[sz]e|Sorry|My apologies|Unfortunately)\b[^.!?\n]{0,60}?\b(?:I|we|you)\b[^.!?\n]{0,40}?(?:can(?:no|')?t|can’t|am unable|(?:'|’)m unable|unable to|not able|do(?:n't|n’t| not) have|did(?:n't|n’t| not) (?:provide|specify|give)|need to (?:specify|provide))(?! (?:to )?(?:come|attend|make it|join|be there))",
        r"\A\W*I(?:'m| am|’m)? ?(?:can(?:not|'t|’t)|unable to|not able to) (?:assist|help|provide|access|fulfil|comply|generate|create|do that|retrieve|browse|determine|answer)",
        r"\A\W*I(?:'m| am|’m) sorry,? but (?:the|your) (?:data|input|question|information|prompt)[^.!?\n]{0,40}(?:isn't|is not|isn’t|doesn't|does not)",
        r"\bI do(?:n't|n’t| not) have (?:access to|the ability to|enough (?:information|context)|real-time)",
        r"\b(?:against|violates?) (?:my|OpenAI's|our) (?:guidelines|policy|policies|programming|content policy)\b",
        r"\bit (?:is|would be) (?:not appropriate|inappropriate) (?:for me )?to\b",
        r"\b(?:please|could you(?: please)?) (?:provide|specify|share|give) (?:me )?(?:more|additional|further|the|your) (?:\w+ ){0,3}?(?:information|details|context|text|article|sentence|input|passage)\b[^.\n]{0,60}[.?]\s*\Z",
    ),
    "unseen-media": _any(
        r"\b(?:the|this|that|these|attached|following|given|above|below)\s+(?:\w+\s+){0,3}?(?:image|photo|photograph|picture|screenshot|video|audio (?:clip|file)|recording|diagram)s?\b(?:\s+(?:below|above|attached|provided|shown|given)\b|\s*[.:?!]?\s*\Z)",
        r"\b(?:attached|enclosed|uploaded) (?:file|document|image|photo|picture|spreadsheet|pdf)\b",
        r"\b(?:see|refer to|look at|shown in|based on) the (?:image|picture|photo|figure|screenshot|video)\b",
        r"\b(?:visit|open|click|go to|check out|read) (?:the |this )?(?:link|url|website|web page|webpage|article)\s*[:(]?\s*https?://",
        r"\b(?:following|this|given|attached) (?:web ?site|web ?page|link|url)\s*[.?!:]?\s*\Z",
    ),
    "cut-words": _any(
        r"\b(?:the|a|an|and|or|but|of|to|in|on|at|for|with|by|from|as|that|which|is|are|was|were|be|been|has|have|had|not|their|its|his|her|your|our|my|this|these|such|than|into|absolutely|while|when|if|because)\s*\Z"
    ),
    "translation": _any(
        r"\b(?:translat|in|into|to|from) (?:it |this |that )?(?:english|french|german|spanish|italian|portuguese|chinese|japanese|korean|russian|arabic|dutch|latin|greek|hindi|swedish|polish|turkish)\b",
        r"\btranslat", r"\blanguage\b",
    ),
}  # fmt: skip
