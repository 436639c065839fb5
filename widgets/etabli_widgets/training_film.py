"""``TrainingFilm``: a run's answers to its sample prompts, step by step, and their distance from the base."""

from collections.abc import Callable
from typing import Any

import traitlets

from etabli_widgets._base import Widget, message, script, style
from etabli_widgets.markup import Markup, answer, cut_mark, element, fragment, notes, table
from etabli_widgets.token_diff import token

PinFunction = Callable[[str, int, str, bool], list[dict[str, Any]]]
MOST_TWIN = 12  # frames of a sample prompt in the twin


class TrainingFilm(Widget):
    """Step through a run: each frame is an answer to a sample prompt, its tokens shaded by the adapter's change.

    ``film`` is ``etabli.core.contracts.ProbeHistory``. ``pin`` is called with (probe, step, why, on) and returns the
    current pins. ``show`` does what the slider does, ``pin_here`` what the pin does; ``feed`` brings new frames.
    """

    _esm = script("training_film", "chart", "moved")
    _css = style("training_film", "moved")

    film = traitlets.Dict(help="The film: see etabli.core.contracts.ProbeHistory").tag(sync=True)
    probe = traitlets.Int(0, help="The strip that is shown").tag(sync=True)
    at = traitlets.Int(0, help="The frame that is shown, counted from 0").tag(sync=True)
    author = traitlets.Unicode("", help="Who pins here: everybody takes off their own").tag(sync=True)

    def __init__(self, film: dict[str, Any], pin: PinFunction | None = None, author: str = "", **traits: Any):
        self._pin = pin
        super().__init__(film=film, author=author, **traits)

    def feed(self, film: dict[str, Any]) -> None:
        """Show a longer film. If the last frame is shown, the new last one is shown next; else the frame stays."""
        if film == self.film:
            return
        last = self.at >= len(self._strip()["frames"]) - 1
        with self.hold_sync():
            self.film = film
            self.probe = min(self.probe, len(film["strips"]) - 1)
            end = len(self._strip()["frames"]) - 1
            self.at = end if last else min(self.at, end)

    def _strip(self) -> dict[str, Any]:
        return dict(self.film["strips"][self.probe])

    def show(self, step: int, probe: int | None = None) -> dict[str, Any]:
        """Show the frame of a step, and return it.

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
        return dict(strips[number]["frames"][self.at])

    def pin_here(self, why: str = "", on: bool = True) -> list[dict[str, Any]]:
        """Pin the shown frame, or remove one's own pin (``on=False``), and return the current pins."""
        strip = self._strip()
        return self._set_pin(strip["probe"], strip["frames"][self.at]["step"], why, on)

    def _set_pin(self, probe: str, step: int, why: str, on: bool) -> list[dict[str, Any]]:
        if self._pin is None:
            raise ValueError("This film has no run folder to save pins in: use etabli.film(run).")
        pins = self._pin(probe, step, why, on)
        self.film = {**self.film, "pins": pins}
        return pins

    @message(probe=int, step=int, why=str | None, on=bool | None)
    def on_pin(self, fields: dict[str, Any]) -> None:
        """Handle the pin in the page, for the frame that was shown when it was pressed."""
        self.error = ""
        probe = self.film["strips"][fields["probe"]]["probe"]
        self._set_pin(probe, fields["step"], fields.get("why", ""), fields.get("on", True))

    def html(self) -> Markup:
        """Return the answers to every sample prompt as static HTML, with at most ``MOST_TWIN`` frames each."""
        film = self.film
        head = element("p", f"The film of {film['run']} ({film['state']}): blue is likelier than under the base.")
        return fragment(head, notes(film["said"]), map(self._twin, film["strips"]))

    def _twin(self, strip: dict[str, Any]) -> Markup:
        frames = strip["frames"]
        every = max(1, -(-len(frames) // MOST_TWIN))
        frames = [*frames[:-1:every], *frames[-1:]]
        pin_reasons = {pin["step"]: pin["why"] for pin in self.film["pins"] if pin["probe"] == strip["probe"]}
        rows = [
            (
                _step(frame["step"], pin_reasons),
                _kl(frame),
                fragment(
                    element("pre", _tokens(frame), class_="etabli-plain", dir="auto"),
                    cut_mark() if frame.get("cut") else None,
                ),
            )
            for frame in frames
        ]
        return fragment(element("p", element("b", strip["probe"])), table(("step", "KL", "answer"), rows))

    def __repr__(self) -> str:
        strips = self.film["strips"]
        frames, pins = sum(len(strip["frames"]) for strip in strips), len(self.film["pins"])
        return f"TrainingFilm of {self.film['run']}: {len(strips)} probes, {frames} frames, {pins} pinned"


def _step(step: int, pin_reasons: dict[int, str]) -> str:
    return f"{step} ◆ {pin_reasons[step]}" if step in pin_reasons else str(step)


def _kl(frame: dict[str, Any]) -> str:
    return "—" if frame["mean_kl"] is None else f"{frame['mean_kl']:.2f}"


def _tokens(frame: dict[str, Any]) -> Markup:
    if not frame["tokens"]:
        return answer(frame["text"])
    changes = [None if None in pair else pair[0] - pair[1] for pair in zip(frame["logp"], frame["base_logp"])]
    return fragment(map(token, frame["tokens"], changes))
