"""``etabli doctor``."""

import click

from etabli.app.cli.output import reporting


def _human(result: dict) -> str:
    lines = []
    for check in result["checks"]:
        fix = f"\n       mend it with: {check['fix']}" if check["fix"] else ""
        lines.append(f"{'ok  ' if check['ok'] else 'FAIL'} {check['name']:<10} {check['detail']}{fix}")
    return "\n".join(lines)


@click.command()
@reporting(_human, lambda result: int(not all(check["ok"] for check in result["checks"])))
def doctor() -> dict:
    """Test whether this machine is fit: tests that run, each failure with what mends it."""
    from etabli.app.doctor import doctor as examine

    return {"checks": examine()}
