"""The words of reviews in English, German, French and Spanish, as ``fold_name`` writes them."""

REJECTED = {
    *("reject", "rejected", "discard", "discarded", "disapproved", "unapproved", "notapproved", "notaccepted"),
    *("abgelehnt", "verworfen", "zuruckgewiesen", "rejete", "rejetee", "ecarte", "rechazado", "rechazada"),
    "descartado",
}
DOUBTFUL = {  # a review's word, or one of loans, orders and tests
    *("declined", "denied", "dismissed", "refused", "invalid", "incorrect", "nok", "notok", "spam", "deleted"),
    *("tobedeleted", "ungultig", "fehlerhaft", "nichtfreigegeben", "nichtvalidiert", "invalide", "invalidee"),
    *("refuse", "refusee", "nonvalide", "nonvalidee", "invalido", "invalida", "denegado", "denegada", "incorrecto"),
}
OPEN = {
    *("pending", "draft", "inreview", "underreview", "unreviewed", "notreviewed", "needsreview", "toreview"),
    *("skip", "skipped", "ignored", "ausstehend", "entwurf", "enattente", "brouillon", "arevoir", "averifier"),
    *("pendiente", "borrador", "zuprufen", "porrevisar"),
}
REVIEW_NAMES = {
    *("review", "reviewstatus", "reviewstate", "reviewresult", "annotationstatus", "annotatorstatus", "responsestatus"),
    *("labelstatus", "labelingstatus", "qastatus", "approval", "approvalstatus", "moderation", "moderationstatus"),
    *("prufstatus", "freigabe", "validationstatus"),
}
GENERAL_NAMES = {"status", "state", "statut", "etat", "zustand", "estado", "decision", "verdict"}
FLAGS = {  # a column of true and false -> the value that leaves the row out
    **dict.fromkeys(("accepted", "isaccepted", "approved", "isapproved", "freigegeben", "keep"), False),
    **dict.fromkeys(("valide", "validee", "approuve", "aprobado", "akzeptiert"), False),
    **dict.fromkeys(("rejected", "isrejected", "discarded", "isdiscarded", "draft", "isdraft"), True),
    **dict.fromkeys(("pending", "ispending", "abgelehnt", "rejete", "rechazado"), True),
    **dict.fromkeys(("exclude", "excluded", "isexcluded", "wascancelled", "deleted", "isdeleted"), True),
}
UNSURE_FLAGS = {
    **dict.fromkeys(("valid", "isvalid", "validated", "gepruft", "gultig"), False),
    **dict.fromkeys(("cancelled", "canceled", "iscancelled", "spam", "isspam", "invalid", "isinvalid"), True),
}
# Objects and lists of a row in which a review stands; a status within another object is a status of that.
PLACES = {
    *("annotation", "annotations", "review", "reviews", "response", "responses", "meta", "metadata", "annotator"),
    *("quality", "qa", "moderation"),
}
VALUE_NAMES = {"value", "name", "label"}
