"""Styles of the widgets' HTML twins. Each sheet holds for its own widget's elements alone, so that they do not mix."""

import functools

from etabli.core.pages import SafeHtml


def widget_styles(*names: str) -> SafeHtml:
    """Return the style sheets of the widgets with these class names."""
    return SafeHtml("\n".join(css for css, name in known_styles().items() if name in names))


@functools.cache
def known_styles() -> dict[str, str]:
    """Return {style sheet: name of its widget} for every twin of this installation."""
    import etabli_widgets

    return {str(getattr(etabli_widgets, name)._css): name for name in etabli_widgets.__all__}
