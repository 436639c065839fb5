"""Every widget looks the same beside every other one as alone: one page, every order, two tabs."""

import itertools

import pytest
from bridged import Bench, differences, geometry
from widget_samples import SAMPLES

import etabli_widgets

NAMES = list(SAMPLES)


def balanced_orders(count):
    """Return orders in which each number stands directly before each other one (a Williams design)."""
    first = [0]
    for step in range(1, count):
        first.append((first[-1] + (step if step % 2 else -step)) % count)
    orders = [[(number + shift) % count for number in first] for shift in range(count)]
    return orders if count % 2 == 0 else orders + [order[::-1] for order in orders]


def test_every_widget_is_among_the_samples():
    """With which the tests of injection, colours, axe, Firefox and the front ends (benchmarks) work."""
    assert sorted(SAMPLES) == sorted(etabli_widgets.__all__)


def test_the_orders_put_each_after_each():
    for count in (4, 11, 12):
        seen = {pair for order in balanced_orders(count) for pair in itertools.pairwise(order)}
        assert seen == {(one, other) for one in range(count) for other in range(count) if one != other}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("samples")


@pytest.fixture(scope="module")
def alone(browser, folder):
    """{widget: geometry of all its elements, on a page of its own}."""
    seen = {}
    for name in NAMES:
        bench = Bench(browser)
        at = bench.mount(SAMPLES[name](folder), name)
        seen[name] = geometry(bench.page, at)
        assert len(seen[name]) > 2 and not bench.problems and not bench.asked, name
        bench.close()
    return seen


def test_a_rule_of_another_widget_is_noticed(browser, folder, alone):
    bench = Bench(browser)
    at = bench.mount(SAMPLES["VerdictCard"](folder), "VerdictCard")
    assert not differences(geometry(bench.page, at, alone["VerdictCard"]), alone["VerdictCard"])
    bench.page.add_style_tag(content=".etabli.etabli .etabli-lines li { padding: 30px !important; }")
    assert differences(geometry(bench.page, at, polls=3), alone["VerdictCard"])
    bench.close()


@pytest.mark.parametrize("order", balanced_orders(len(NAMES)), ids=lambda order: NAMES[order[0]])
def test_all_on_one_page_in_two_tabs(browser, folder, alone, order):
    """The widgets stand in two roots of one document, in turn, as two tabs of JupyterLab do."""
    bench = Bench(browser)
    mounted = [
        (NAMES[number], bench.mount(SAMPLES[NAMES[number]](folder), NAMES[number], f"#tab-{1 + place % 2}"))
        for place, number in enumerate(order)
    ]
    changed = {name: differences(geometry(bench.page, at, alone[name], 20), alone[name]) for name, at in mounted}
    bench.close()
    assert not bench.problems
    assert not {name: what for name, what in changed.items() if what}
