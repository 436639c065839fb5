"""The doctor: tests whether this machine can train. Each failed test names the command that mends it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from etabli.app.doctor import compute, place
from etabli.core.contracts import Check
from etabli.core.progress import show_progress

if TYPE_CHECKING:
    from etabli_widgets import RoundTrip

CheckResult = tuple[bool, str, str]  # whether it is well, what was measured, the command that mends it

CHECKS: dict[str, Callable[[], CheckResult]] = {
    "device": compute.device,
    "four_bit": compute.four_bit,
    "dtypes": compute.dtypes,
    "overflow": compute.overflow,
    "threads": compute.threads,
    "memory": place.memory,
    "disk": place.disk,
    "model": place.model,
    "owner": place.owner,
    "service": place.service,
    "widgets": place.widgets,
}


def doctor() -> list[Check]:
    """Run every check and return the results. A check that raises an error has failed.

    One thing only a page can test: whether its widgets reach the kernel. ``round_trip`` does that.
    """
    with show_progress("testing this machine", len(CHECKS)) as task:
        results = []
        for number, (name, check) in enumerate(CHECKS.items()):
            task.what = f"testing this machine: {name}"
            task.report(number)
            results.append(_run(name, check))
    return results


def round_trip() -> "RoundTrip":
    """Return a widget that sends a message from the page to the kernel and back, and shows how long it took."""
    from etabli_widgets import RoundTrip

    return RoundTrip()


def _run(name: str, check: Callable[[], CheckResult]) -> Check:
    try:
        ok, detail, fix = check()
    except Exception as error:
        ok, detail, fix = False, f"{type(error).__name__}: {error}", "pip install --upgrade etabli bitsandbytes"
    return {"name": name, "ok": ok, "detail": detail, "fix": "" if ok else fix}
