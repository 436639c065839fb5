"""French phrases."""

import re

from etabli.checks.rules.phrases import any_of

_MODEL = r"(?:une? )?(?:IA|intelligence artificielle|grand modèle de langage|grand modele de langage|mod[eè]le de langage|mod[eè]le linguistique|assistant virtuel|agent conversationnel)"

_SORRY = r"(?:je suis (?:vraiment |sincèrement )?)?d[ée]sol[ée]e?|navrée?|je (?:vous prie|te prie) de m['’]excuser|je m['’]excuse|malheureusement|excusez-moi|je regrette"
_UNABLE = r"(?:je ne (?:peux|puis|pourrai)(?: malheureusement)?(?: pas)?|je ne suis pas (?:en mesure|capable|autorisée?)|il m['’]est impossible|je n['’]ai pas|je ne dispose pas)"
# what an assistant does for the person who asks; not « venir »
_DO = r"(?:vous |t['’]|te |y )?(?:aider|fournir|accéder|accès|répondre|créer|générer|donner|satisfaire|traiter|faire cela|consulter|écrire|rédiger|la capacité|d['’]informations|les informations|de données|la possibilité|ouvrir|voir)"

RULES: dict[str, re.Pattern[str]] = {
    "ai-disclaimer": any_of(
        rf"\ben tant qu(?:['’]|e ){_MODEL}(?: [\w’']+){{0,4}}?\s*,?\s+(?:je|j['’]|mon|ma|mes|il m['’])",
        rf"\ben tant qu(?:['’]|e ){_MODEL}(?: de langage| linguistique| IA)?\s*,",
        rf"\bje (?:ne )?suis (?:qu['’])?{_MODEL}\b(?! ?(?:ienn?e|ingénieur))",
        r"\ben (?:tant qu(?:['’]|e )assistant (?:IA|virtuel)|ma qualité d['’](?:IA|intelligence artificielle))\b",
        r"\bje (?:ne )?suis (?:qu['’])?un (?:simple )?programme (?:informatique)?\b",
        r"\bmes connaissances s['’]arrêtent\b",
        r"\bmes données d['’]entra[iî]nement\b",
        r"\b(?:j['’]ai été|je suis) (?:[\w’']+ ){0,3}?(?:entra[iî]née?|développée?|créée?) par (?:OpenAI|Anthropic|Mistral AI|Google)\b",
    ),
    "refusal": any_of(
        rf"\A\W*(?:{_SORRY})\b[^.!?\n]{{0,60}}?{_UNABLE} (?:de |d['’])?(?:malheureusement )?{_DO}",
        rf"\A\W*(?:{_SORRY})\b[^.!?\n]{{0,60}}?vous n['’]avez pas (?:fourni|précisé|indiqué|donné|joint)",
        rf"\A\W*{_UNABLE} (?:de |d['’])?(?:malheureusement )?{_DO}",
        r"\A\W*(?:je (?:refuse|préfère ne pas|regrette, mais je ne)|je (?:suis au regret|ne suis pas autorisée?)|je ne saurais répondre|il m['’]est impossible de)",
        r"\A\W*vous n['’]avez pas (?:fourni|précisé|indiqué|donné|joint)",
        r"\bje n['’]ai pas (?:accès (?:à (?!mon|ma|mes|notre)|aux)|la capacité d|la possibilité d|assez d['’]informations pour|suffisamment d['’]informations pour)",
        r"\b(?:contraire à|à l['’]encontre de|viole) (?:mes|nos) (?:directives|règles|principes)\b",
        r"contraire à l['’]éthique, (?:donc )?je ne peux",
        r"\A(?!Bonjour|Madame|Monsieur|Cher)[^\n]{0,300}\b(?:veuillez|pourriez-vous|merci de) (?:me )?(?:fournir|préciser|donner|indiquer) (?:plus|davantage) (?:[\w’']+ ){0,3}?(?:informations?|détails|contexte|précisions)\b[^.\n]{0,60}[.?]\s*\Z",
    ),
    "unseen-media": any_of(
        r"\b(?:l['’]|la |le |cette |cet |ce |ces |les )(?:image|photo|photographie|capture d['’]écran|vidéo|enregistrement|schéma|diagramme)s?\s+(?:ci-dessous|ci-dessus|ci-joint\w*|jointe?s?|fournie?s?|suivante?s?)\b",
        r"\b(?:cette|ces) (?:image|photo|vidéo|capture d['’]écran)s?\b",
        r"\bla (?:vidéo|photo) suivante\b",
        r"\b(?:le|ce|l['’]) ?(?:fichier|document|tableur|image|photo|pdf) (?:ci-)?joint(?:e|s|es)?\b",
        r"\b(?:d['’]après|regarde[zr]? |selon )\s?(?:l['’]|la |cette |le )(?:image|photo|capture d['’]écran|vidéo)\b",
        r"\b(?:visite[zr]?|ouvre[zr]?|clique[zr]? sur|va sur|allez sur|lis|lisez|consulte[zr]?|résume[zr]?) (?:le |ce |cette |la |l['’])?(?:lien|site|page|url|article)\s*:?\s*https?://",
        r"\b(?:ce|le) (?:site web|lien) (?:suivant|ci-dessous|ci-joint)\b",
    ),
    "cut-words": any_of(
        r"\b(?:le|la|les|un|une|des|du|de|et|ou|mais|au|aux|leur|leurs|son|sa|ses|votre|notre|mon|ma|ce|cette|ces|lorsque)\s*\Z"
    ),
    "translation": any_of(
        r"\b(?:en|vers l['’]|du|de l['’])\s?(?:anglais|français|allemand|espagnol|italien|portugais|chinois|japonais|coréen|russe|arabe|néerlandais|latin|grec|suédois|polonais|turc)\b",
        r"\btradui",
        r"\blangue\b",
    ),
}
