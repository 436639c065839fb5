"""Words without a blank, longer than any widget is wide, stay in the widget: only marked parts scroll."""

import pytest
import widget_samples
from bridged import Bench, geometry
from widget_samples import SAMPLES

WORD = "w" * 3_000

# Texts that no ancestor clips or scrolls and that end right of the widget's own edge.
RUN_OUT = """(el) => {
  const edge = el.getBoundingClientRect().right;
  const clips = (node) => node !== el && (getComputedStyle(node).overflowX !== "visible" || clips(node.parentElement));
  const texts = document.createTreeWalker(el, NodeFilter.SHOW_TEXT);
  const names = [];
  while (texts.nextNode()) {
    const range = document.createRange();
    range.selectNodeContents(texts.currentNode);
    const parent = texts.currentNode.parentElement;
    const right = Math.max(...[...range.getClientRects()].map((box) => box.right));
    if (right > edge + 1 && !clips(parent)) names.push(`${parent.tagName}.${parent.className}: ${range}`.slice(0, 60));
  }
  return names;
}"""


def stretch(value, keep=()):
    """Return a text, or lists and dicts of texts, with a long word in place of every text; ``keep``: keys that stay."""
    if isinstance(value, dict):
        return {key: item if key in keep else stretch(item, keep) for key, item in value.items()}
    if isinstance(value, list):
        return [stretch(item, keep) for item in value]
    return WORD if isinstance(value, str) else value


TRAITS = {  # with the keys whose values are no free text
    "RunMonitor": {"name": (), "notes": (), "why": (), "samples": ()},
    "ChatCompare": {"prompt": (), "texts": (), "suggestions": (), "notes": (), "tally": (), "error": ()},
    "BlindArena": {"said": (), "told": ("kind",), "watched": (), "error": ()},
    "CheckReport": {"error": ()},
    "DatasetTable": {"detail": ("status",), "error": ()},
    "ThresholdPairs": {"error": ()},
    "MaskLens": {"view": ("policy", "rows", "policies", "failing", "failed"), "error": ()},
    "MemoryLedger": {"model_name": (), "card": (), "error": ()},
    "TokenDiff": {"about": (), "error": ()},
    "TrainingFilm": {"film": ("by", "id", "state"), "error": ()},
    "SealCard": {"view": ("heads", "kind", "first"), "error": ()},
    "VerdictCard": {"view": ("score", "slice", "arm", "against", "verdict", "forest"), "error": ()},
    "RoundTrip": {"error": ()},
}


@pytest.fixture
def stretched(tmp_path, monkeypatch, request):
    """The sample of a widget with long words."""
    monkeypatch.setattr(widget_samples, "LONG", WORD)
    widget = SAMPLES[request.param](tmp_path)
    for trait, keep in TRAITS[request.param].items():
        setattr(widget, trait, WORD if trait == "error" else stretch(getattr(widget, trait), keep))
    return widget


@pytest.mark.parametrize("stretched", SAMPLES, indirect=True)
def test_a_word_without_blanks_stays_in_the_widget(browser, stretched):
    bench, name = Bench(browser, width=640), type(stretched).__name__
    at = bench.mount(stretched, name)
    geometry(bench.page, at)
    assert not bench.problems
    assert bench.page.locator(f"#{at}").evaluate(RUN_OUT) == []
    bench.close()
