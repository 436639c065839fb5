"""``etabli doctor``."""

import click

from etabli.app.cli.output import reporting
from etabli.core.contracts import Check


def _format_checks(result: dict[str, list[Check]]) -> str:
    lines = []
    for check in result["checks"]:
        fix = f"\n       mend it with: {check['fix']}" if check["fix"] else ""
        lines.append(f"{'ok  ' if check['ok'] else 'FAIL'} {check['name']:<10} {check['detail']}{fix}")
    return "\n".join(lines)


@click.command()
@reporting(_format_checks, lambda result: int(not all(check["ok"] for check in result["checks"])))
def doctor() -> dict[str, list[Check]]:
    """Test whether this machine can train. Each failure comes with the command that mends it."""
    from etabli.app.doctor import doctor as examine

    return {"checks": examine()}
