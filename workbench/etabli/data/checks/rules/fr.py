"""French phrases."""

import re


def _any(*phrases: str) -> re.Pattern:
    return re.compile("|".join(phrases), re.IGNORECASE)


_MODEL = r"(?:une? )?(?:IA|intelligence artificielle|grand modèle de langage|grand modele de langage|mod[eè]le de langage|mod[eè]le linguistique|assistant virtuel|agent conversationnel)"

RULES: dict[str, re.Pattern] = {
    "ai-disclaimer": _any(
        rf"\ben tant qu(?:['’]|e ){_MODEL}(?: [\w’']+){{0,4}}?\s*,?\s+(?:je|j['’]|mon|ma|mes|il m['’])",
        rf"\ben tant qu(?:['’]|e ){_MODEL}(?: de langage| linguistique| IA)?\s*,",
        rf"\bje (?:ne )?suis (?:qu['’])?{_MODEL}\b(?! ?(?:ienn?e|ingénieur))",
        r"\bmes données d['’]entra[iî]nement\b",
        r"\b(?:j['’]ai été|je suis) (?:[\w’']+ ){0,3}?(?:entra[iî]née?|développée?|créée?) par (?:OpenAI|Anthropic|Mistral AI|Google)\b",
    ),
    "refusal": _any(
        r"\A\W*(?:(?:je suis (?:vraiment |sincèrement )?)?d[ée]sol[ée]e?|je (?:vous prie|te prie) de m['’]excuser|je m['’]excuse|malheureusement|excusez-moi)\b[^.!?\n]{0,60}?(?:je ne (?:peux|puis|suis pas|dispose|parviens)|je n['’](?:ai pas|arrive)|il m['’]est impossible|vous n['’]avez pas (?:fourni|précisé|indiqué|donné))",
        r"\A\W*je (?:ne (?:peux|puis) (?:pas |malheureusement pas )?|ne suis pas (?:en mesure|capable|autorisée?) (?:de |d['’]))(?:vous |t['’]|te )?(?:aider|fournir|accéder|répondre|créer|générer|donner|satisfaire|traiter|faire cela|consulter)",
        r"\bje n['’]ai pas (?:accès (?:à|aux)|la capacité d|la possibilité d|assez d['’]informations|suffisamment d)",
        r"\b(?:contraire à|viole) (?:mes|nos|les) (?:directives|règles|principes)\b",
        r"\bil (?:est|serait) inapproprié (?:pour moi )?de\b",
        r"\b(?:veuillez|pourriez-vous|merci de) (?:me )?(?:fournir|préciser|donner|indiquer) (?:plus|davantage|le|la|les|votre) (?:[\w’']+ ){0,3}?(?:informations?|détails|contexte|texte|article|phrase|précisions)\b[^.\n]{0,60}[.?]\s*\Z",
    ),
    "unseen-media": _any(
        r"\b(?:l['’]|la |le |cette |cet |ce |ces |les )(?:image|photo|photographie|capture d['’]écran|vidéo|enregistrement|schéma|diagramme)s?\s+(?:ci-dessous|ci-dessus|ci-joint\w*|jointe?s?|fournie?s?|suivante?s?)\b",
        r"\b(?:fichier|document|tableur|image|photo|pdf) (?:ci-)?joint(?:e|s|es)?\b",
        r"\b(?:d['’]après|sur|dans|regarde[zr]? |voir |selon )\s?(?:l['’]|la |cette |le )(?:image|photo|figure|capture d['’]écran|vidéo)\b",
        r"\b(?:visite[zr]?|ouvre[zr]?|clique[zr]? sur|va sur|allez sur|lis|lisez|consulte[zr]?) (?:le |ce |cette |la |l['’])?(?:lien|site|page|url|article)\s*:?\s*https?://",
        r"\b(?:ce|le) (?:site web|lien) (?:suivant|ci-dessous|ci-joint)\b",
    ),
    "cut-words": _any(
        r"\b(?:le|la|les|un|une|des|du|de|et|ou|mais|à|au|aux|en|dans|sur|pour|avec|par|que|qui|est|sont|était|a|ont|ne|pas|leur|leurs|son|sa|ses|votre|notre|mon|ma|ce|cette|ces|si|car|comme|lorsque)\s*\Z"
    ),
    "translation": _any(
        r"\b(?:en|vers l['’]|du|de l['’])\s?(?:anglais|français|allemand|espagnol|italien|portugais|chinois|japonais|coréen|russe|arabe|néerlandais|latin|grec|suédois|polonais|turc)\b",
        r"\btradui", r"\blangue\b",
    ),
}  # fmt: skip
