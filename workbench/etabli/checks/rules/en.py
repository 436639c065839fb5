"""English phrases. Each was tried on the 999 Alpaca rows; precision is in docs/log.md."""

import re

from etabli.checks.rules.phrases import any_of

_MODEL = r"(?:an? )?(?:AI|artificial intelligence|large language model|language model|virtual assistant|chat ?bot)"

_JOBS = "engineer|researcher|expert|scientist|developer|student|company|startup|start-up|ethicist|specialist|consultant|enthusiast|team"
_SORRY = r"I(?:'m| am|’m) (?:very |so |really |truly )?sorry|I apologi[sz]e|Sorry|My apologies|Apologies|Unfortunately|I regret"
_UNABLE = r"(?:can(?:no|')?t|can’t|cannot|am unable|'m unable|’m unable|unable|am not able|'m not able|not able|do(?:n't|n’t| not) have)"
_UNABLE_I = r"(?:(?:'m|’m| am) (?:unable|not able)| can(?:no|')?t| can’t)"
# what an assistant does for the person who asks; not "come", "attend" or "make it"
_DO = r"(?:in good conscience|assist|help|provide (?!for)|access|fulfil|comply|generate|create|do (?:that|this)|retrieve|browse|determine|answer|write|open|see (?:images|pictures|the)|display|predict|estimate|complete|perform|give you|offer|discuss|support|share|respond|the (?:data|ability|capab|information|means|necessary)|access|enough|information|real-time|any )"

RULES: dict[str, re.Pattern[str]] = {
    # in the first person; "as an AI engineer" is a job
    "ai-disclaimer": any_of(
        rf"\bas {_MODEL}(?: (?:language )?(?:model|assistant|system))?\b(?! (?:{_JOBS})),? (?:\w+ ){{0,6}}?(?:I|my|me)\b",
        rf"\bas {_MODEL}(?: (?:language )?(?:model|assistant))?\s*[,;]",
        rf"\bI(?:'m| am|’m) (?:just |only )?{_MODEL}(?: (?:language )?(?:model|assistant|program))?(?=[\s,.;])(?! (?:{_JOBS}))",
        r"\bI(?:'m| am|’m) (?:just |only )?a (?:computer|software) program\b",
        r"\bmy (?:training data|knowledge cutoff|knowledge (?:was )?last updated)\b",
        r"\bI (?:was|am|have been) (?:an? )?(?:\w+ ){0,3}?(?:trained|developed|created|made) by (?:OpenAI|Anthropic)\b",
        r"\bI (?:do(?:n't|n’t| not)) have (?:personal |any |my own )*(?:opinions|feelings|emotions|beliefs|experiences|preferences|consciousness)\b",
    ),
    # an answer that refuses the question; a letter that apologises to somebody is no refusal
    "refusal": any_of(
        rf"\A\W*(?:{_SORRY})\b[^.!?\n]{{0,80}}?\b(?:I|me|my)\b[^.!?\n]{{0,40}}?{_UNABLE} (?:to )?{_DO}",
        rf"\A\W*(?:{_SORRY})\b[^.!?\n]{{0,80}}?\byou (?:did(?:n't|n’t| not)|have(?:n't|n’t| not)|need to) (?:provide|specif|give|includ|share|attach)",
        rf"\A\W*I{_UNABLE_I} (?:to )?{_DO}",
        r"\A\W*(?:(?:No, )?I (?:must |have to |will )?(?:refuse|decline)\b|I won['’]t be able to|I will not be able to|I regret that I can)",
        r"\A\W*I(?:'m|’m| am) (?:not comfortable|afraid (?:that )?(?:I|this|that))\b",
        r"\A\W*(?:Sorry|I(?:'m|’m| am) sorry),? but (?:that(?:'s|’s| is) not something|the|your) (?:I can|data|input|question|information|prompt|request)?[^.!?\n]{0,40}(?:isn't|is not|isn’t|doesn't|does not|I can)",
        rf"\A\W*(?:{_SORRY})\b[^.!?\n]{{0,60}}?(?:against (?:my|ethical|our)|beyond my|outside (?:of )?my)",
        r"\bI do(?:n't|n’t| not) have (?:(?:direct |real-time )?access to (?!my\b|our\b)(?:your|real|external|current|the internet|up-to-date|the available|this|that|individual|specific|live|any)|the ability to|enough (?:information|context) to|real-time (?:data|information))",
        r"\b(?:against|violates?) (?:my|OpenAI's) (?:guidelines|policy|policies|programming|content policy)\b",
        r"\A\W*You did(?:n't|n’t| not) (?:provide|include|give|specify|attach)\b",
        r"\A(?!Dear|Hi|Hello|Bonjour)[^\n]{0,300}\b(?:please|could you(?: please)?) (?:provide|specify|share|give) (?:me )?(?:with )?(?:more|additional|further) (?:\w+ ){0,3}?(?:information|details|context)\b[^.\n]{0,80}[.?]\s*\Z",
    ),
    "unseen-media": any_of(
        r"\b(?:this|attached|following|above|below|given|provided)\s+(?:\w+\s+){0,3}?(?:image|photo|photograph|picture|screenshot|video|audio (?:clip|file)|recording|diagram)s?\b(?:\s*[.:?!]?\s*\Z|\s*[.:]?\s*https?://|\s+(?:below|above|attached|shows?|depicts?))",
        r"\bthe\s+(?:\w+\s+){0,3}?(?:image|photo|photograph|picture|screenshot|video|diagram|chart|graph)s?\s+(?:below|above|attached|provided|shown)\b",
        r"\b(?:the|this|an?) (?:attached|enclosed|uploaded) (?:file|document|image|photo|picture|spreadsheet|pdf)\b(?! (?:in|to an?|from)\b)",
        r"\b(?:see|refer to|shown in|based on) (?:the|this) (?:image|picture|photo|screenshot|video)\b",
        r"\b(?:visit|open|click|go to|check out|read|summari[sz]e|review) (?:on )?(?:the |this )?(?:link|url|website|web page|webpage|article|page|site)\s*[:(]?\s*https?://",
        r"\b(?:following|this|given|attached) (?:web ?site|web ?page|link|url)\s*[.?!:]?\s*\Z",
    ),
    "cut-words": any_of(
        r"\b(?:the|a|an|and|or|but|of|their|its|your|our|my|than|into|while|because|then|absolutely)\s*\Z"
    ),
    "translation": any_of(
        r"\b(?:translat|in|into|to|from) (?:it |this |that )?(?:english|french|german|spanish|italian|portuguese|chinese|japanese|korean|russian|arabic|dutch|latin|greek|hindi|swedish|polish|turkish)\b",
        r"\btranslat",
        r"\blanguage\b",
    ),
}
