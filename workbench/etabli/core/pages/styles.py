"""Styles of the widgets' twins. Each holds within its own class, so that one widget's rules reach no other's twin."""

import functools

from etabli.core.pages import FOLDER, SafeHtml


def widget_styles(*names: str) -> SafeHtml:
    """The styles of the widgets of these class names, for elements of the class ``twin-NAME``."""
    return SafeHtml("\n".join(f".twin-{name} {{\n{css}\n}}" for css, name in known_styles().items() if name in names))


@functools.cache
def known_styles() -> dict[str, str]:
    """Every style sheet that a twin of this installation brings along, and the name of whose it is."""
    import etabli_widgets

    widgets = {str(getattr(etabli_widgets, name)._css): name for name in etabli_widgets.__all__}
    return widgets | {(FOLDER / "check.css").read_text(encoding="utf-8").rstrip("\n"): "DataCheck"}
