"""Columns that say what a review decided about a row: rejected, still open, or accepted.

What is surely rejected is left out with a note; what may be an ordinary column (the ``status`` of an order) is named.
"""

from collections.abc import Collection, Mapping

from etabli.data.notes import Note, excerpt
from etabli.data.reading.columns import fold_name
from etabli.data.reading.paths import list_leaves

# English, German, French, Spanish; as ``fold_name`` writes them.
_REJECTED = {
    *("reject", "rejected", "discard", "discarded", "disapproved", "unapproved", "notapproved", "notaccepted"),
    *(
        "abgelehnt",
        "verworfen",
        "zuruckgewiesen",
        "rejete",
        "rejetee",
        "ecarte",
        "rechazado",
        "rechazada",
        "descartado",
    ),
}
_OPEN = {
    *("pending", "draft", "inreview", "underreview", "unreviewed", "notreviewed", "needsreview", "toreview"),
    *("skipped", "ignored", "ausstehend", "entwurf", "enattente", "brouillon", "pendiente", "borrador"),
}
_REVIEW_NAMES = {
    *("review", "reviewstatus", "reviewstate", "reviewresult", "annotationstatus", "annotatorstatus", "responsestatus"),
    *("labelstatus", "labelingstatus", "qastatus", "approval", "approvalstatus", "moderation", "moderationstatus"),
    *("prufstatus", "freigabe", "validationstatus"),
}
_GENERAL_NAMES = {"status", "state", "statut", "etat", "zustand", "estado", "decision", "verdict"}
_FLAGS = {  # a column of true and false -> the value that leaves the row out
    **dict.fromkeys(("accepted", "isaccepted", "approved", "isapproved"), False),
    **dict.fromkeys(("rejected", "isrejected", "discarded", "isdiscarded", "draft", "isdraft"), True),
    **dict.fromkeys(("pending", "ispending", "abgelehnt", "rejete"), True),
}
_UNSURE_FLAGS = {"valid": False, "isvalid": False}
_TRUE, _FALSE = {"true", "1", "1.0", "yes"}, {"false", "0", "0.0", "no"}
STATUS = "status"  # the name that a person gives a column which holds such states


def judge_state(item: Mapping[str, object], is_named: bool, without: Collection[str]) -> tuple[bool, list[Note]]:
    """Return whether a row is left out for what a review said, and the note about it.

    Args:
        item: the row.
        is_named: whether a person named its column ``status`` as one of states.
        without: columns that the format reads.
    """
    unsure_notes = []
    for path, value in list_leaves(item, without):
        if len(str(value)) > 40:
            continue
        name = fold_name(path.rpartition(".")[2])
        is_surely = _leaves_out(name, value, is_named and path == STATUS)
        if is_surely:
            why = f"{excerpt(path)} is {excerpt(value)!r}: left out."
            return True, [Note("rejected", path, excerpt(value), why)]
        if is_surely is False:
            unsure_notes.append(_unsure_note(path, value))
    return False, unsure_notes[:1]


def _unsure_note(path: str, value: object) -> Note:
    why = (
        f"{excerpt(path)} is {excerpt(value)!r}: the row is trained. If a review says so, leave such rows out with "
        f"--column {STATUS}={excerpt(path)}"
    )
    return Note("unsettled", path, excerpt(value), why)


def _leaves_out(name: str, value: object, is_named: bool) -> bool | None:
    """Return True for a row that is left out, False for one that may be meant so, None for an ordinary value."""
    text, flag = fold_name(str(value)), str(value).strip().casefold()
    if flag in (_TRUE | _FALSE):
        if is_named:
            return flag in _FALSE or None
        if name in _FLAGS:
            return flag in (_TRUE if _FLAGS[name] else _FALSE) or None
        return False if name in _UNSURE_FLAGS and flag in _FALSE else None
    if name == "answer" and text in ("reject", "ignore"):  # Prodigy's
        return True
    if text in _REJECTED:
        return is_named or name in _REVIEW_NAMES | _GENERAL_NAMES
    if text in _OPEN:
        return True if is_named or name in _REVIEW_NAMES else False if name in _GENERAL_NAMES else None
    return None
