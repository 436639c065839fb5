"""Is this machine fit for it? Not a list of versions but tests that run, each with the one command that mends it."""

from collections.abc import Callable
from typing import Any

from etabli.app.doctor import compute, place

Check = dict[str, Any]
Found = tuple[bool, str, str]  # is it well, what was seen, the command that mends it

CHECKS: dict[str, Callable[[], Found]] = {
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
    """Run every check: ``[{name, ok, detail, fix}]``. A check that raises is a check that failed.

    What only a page can tell, whether a widget in it reaches the kernel, ``round_trip`` shows.
    """
    return [_run(name, check) for name, check in CHECKS.items()]


def round_trip() -> Any:
    """A widget that sends a message from the page to the kernel and back, and says how long it took, or what to do."""
    from etabli_widgets import RoundTrip

    return RoundTrip()


def _run(name: str, check: Callable[[], Found]) -> Check:
    try:
        ok, detail, fix = check()
    except Exception as error:
        ok, detail, fix = False, f"{type(error).__name__}: {error}", "pip install --upgrade etabli bitsandbytes"
    return {"name": name, "ok": ok, "detail": detail, "fix": "" if ok else fix}
