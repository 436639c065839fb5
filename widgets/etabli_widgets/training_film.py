"""``TrainingFilm``: what a run answered to its probes, step by step, and how far that was from the base."""

from collections.abc import Callable
from typing import Any

import traitlets

from etabli_widgets._base import Widget, message, script, style
from etabli_widgets.markup import Markup, element, fragment, notes, table
from etabli_widgets.token_diff import token

MOST_TWIN = 12  # frames of a strip in the twin


class TrainingFilm(Widget):
    """Scrub through a run: each frame is the answer to a probe, its tokens shaded by how far the adapter moved them.

    ``film`` is ``etabli.core.contracts.ProbeHistory``. ``pin`` is called with (probe, step, why, on) and returns the pins that
    stand; ``show``, ``pin_here`` and ``feed`` are the code paths of the slider, the pin and a run that goes on.
    """

    _esm = script("chart", "moved", "training_film")
    _css = style("moved", "training_film")

    film = traitlets.Dict(help="The film: see etabli.core.contracts.ProbeHistory").tag(sync=True)
    probe = traitlets.Int(0, help="The strip that is shown").tag(sync=True)
    at = traitlets.Int(0, help="The frame that is shown, counted from 0").tag(sync=True)
    author = traitlets.Unicode("", help="Who pins here: everybody takes off their own").tag(sync=True)

    def __init__(
        self, film: dict[str, Any], pin: Callable[[str, int, str, bool], list] | None = None, author: str = "",
        **traits: Any,
    ):  # fmt: skip
        self._pin = pin
        super().__init__(film=film, author=author, **traits)

    def feed(self, film: dict[str, Any]) -> None:
        """A longer film. Who looks at the last frame stays at the end, who looks at another stays there."""
        if film == self.film:
            return
        last = self.at >= len(self._strip()["frames"]) - 1
        with self.hold_sync():
            self.film = film
            self.probe = min(self.probe, len(film["strips"]) - 1)
            end = len(self._strip()["frames"]) - 1
            self.at = end if last else min(self.at, end)

    def _strip(self) -> dict[str, Any]:
        return self.film["strips"][self.probe]

    def show(self, step: int, probe: int | None = None) -> dict[str, Any]:
        """Go to the frame of a step; returns it.

        Raises:
            ValueError: there is no such frame, or no such probe.
        """
        strips = self.film["strips"]
        number = self.probe if probe is None else probe
        if not 0 <= number < len(strips):
            raise ValueError(f"There is no probe {number}; there are {len(strips)}, counted from 0.")
        steps = [frame["step"] for frame in strips[number]["frames"]]
        if step not in steps:
            raise ValueError(f"There is no frame of step {step}; there are {', '.join(map(str, steps))}.")
        with self.hold_sync():
            self.probe, self.at = number, steps.index(step)
        return strips[number]["frames"][self.at]

    def pin_here(self, why: str = "", on: bool = True) -> list[dict[str, Any]]:
        """Pin the frame that is shown, or take one's own pin off it; returns the pins that stand."""
        strip = self._strip()
        return self._pinned(strip["probe"], strip["frames"][self.at]["step"], why, on)

    def _pinned(self, probe: str, step: int, why: str, on: bool) -> list[dict[str, Any]]:
        if self._pin is None:
            raise ValueError("Pins are kept in a run folder: etabli.film(run) has one.")
        pins = self._pin(probe, step, why, on)
        self.film = {**self.film, "pins": pins}
        return pins

    @message(probe=int, step=int, why=str | None, on=bool | None)
    def on_pin(self, fields: dict[str, Any]) -> None:
        """The pin in the page, of the frame that was looked at when it was pressed."""
        self.error = ""
        probe = self.film["strips"][fields["probe"]]["probe"]
        self._pinned(probe, fields["step"], fields.get("why", ""), fields.get("on", True))

    def html(self) -> Markup:
        """Every strip as static HTML, its frames thinned out."""
        film = self.film
        head = element("p", f"The film of {film['run']} ({film['state']}): blue is likelier than under the base.")
        return fragment(head, notes(film["said"]), map(self._twin, film["strips"]))

    def _twin(self, strip: dict[str, Any]) -> Markup:
        frames = strip["frames"]
        every = -(-len(frames) // MOST_TWIN)
        chosen = [frame for at, frame in enumerate(frames) if at % every == 0 or at == len(frames) - 1]
        pinned = {pin["step"]: pin["why"] for pin in self.film["pins"] if pin["probe"] == strip["probe"]}
        rows = [
            (
                _step(frame["step"], pinned),
                _kl(frame),
                element("pre", _tokens(frame), class_="etabli-plain", dir="auto"),
            )
            for frame in chosen
        ]
        return fragment(element("p", element("b", strip["probe"])), table(("step", "KL", "answer"), rows))

    def __repr__(self) -> str:
        strips = self.film["strips"]
        frames, pins = sum(len(strip["frames"]) for strip in strips), len(self.film["pins"])
        return f"TrainingFilm of {self.film['run']}: {len(strips)} probes, {frames} frames, {pins} pinned"


def _step(step: int, pinned: dict[int, str]) -> str:
    return f"{step} ◆ {pinned[step]}" if step in pinned else str(step)


def _kl(frame: dict[str, Any]) -> str:
    return "—" if frame["mean_kl"] is None else f"{frame['mean_kl']:.2f}"


def _tokens(frame: dict[str, Any]) -> Markup:
    if frame["tokens"] is None:
        return fragment(frame["text"])
    changes = [None if None in pair else pair[0] - pair[1] for pair in zip(frame["logp"], frame["base_logp"])]
    return fragment(map(token, frame["tokens"], changes))
