"""Every widget in one page of pictures: light, dark, 1000 and 600 px wide. `make e2e` leaves shots/gallery.html."""

import html

import pytest
from bridged import Bench
from widget_samples import SAMPLES

from conftest import SHOTS

VIEWS = {"light": ("light", 1280), "dark": ("dark", 1280), "narrow": ("light", 1000), "cell": ("light", 600)}


@pytest.mark.parametrize("view", VIEWS)
def test_every_widget_stays_within_the_page(browser, tmp_path, view):
    theme, width = VIEWS[view]
    for name, sample in SAMPLES.items():
        bench = Bench(browser, theme, width)
        at = bench.mount(sample(tmp_path), name)
        bench.page.wait_for_timeout(300)
        box = bench.page.locator(f"#{at}").bounding_box()
        assert box["height"] > 40 and box["x"] + box["width"] <= width, name
        assert not bench.problems and not bench.asked, name
        if SHOTS:
            SHOTS.mkdir(parents=True, exist_ok=True)
            bench.page.locator(f"#{at}").screenshot(path=SHOTS / f"{name}-{view}.png")
        bench.close()


@pytest.mark.skipif(SHOTS is None, reason="pictures are taken when ETABLI_SHOTS names a folder")
def test_the_gallery_is_written():
    parts = [
        f"<h2>{html.escape(name)}</h2>"
        + "".join(f'<img alt="{name}, {view}" src="{name}-{view}.png">' for view in VIEWS)
        for name in SAMPLES
    ]
    style = "body{font-family:system-ui;margin:24px;background:#999}img{display:block;max-width:100%;margin:8px 0}"
    page = f"<!doctype html><meta charset=utf-8><title>Widgets</title><style>{style}</style>{''.join(parts)}"
    (SHOTS / "gallery.html").write_text(page, encoding="utf-8")
    assert all((SHOTS / f"{name}-{view}.png").is_file() for name in SAMPLES for view in VIEWS)
