"""Debian's Firefox over its own WebDriver BiDi: Playwright drives only a Firefox that it has built itself.

``apt-get install firefox-esr`` or FIREFOX=path.
"""

import itertools
import json
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import websocket  # websocket-client, which Jupyter's server brings

FIREFOX = os.environ.get("FIREFOX") or shutil.which("firefox-esr") or shutil.which("firefox")
NO_FIREFOX = "no Firefox: apt-get install firefox-esr, or set FIREFOX"
SECONDS = 300.0  # that an answer may take
# It asks nobody for updates, lists or pictures of its own.
PREFERENCES = {
    "app.normandy.enabled": False,
    "browser.newtabpage.enabled": False,
    "browser.safebrowsing.update.enabled": False,
    "browser.startup.page": 0,
    "captivedetect.canonicalURL": "",
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.blocklist.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.proxy.allow_hijacking_localhost": True,
    "network.proxy.type": 1,
    "remote.active-protocols": 1,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}


class Firefox:
    """A Firefox without a window, all of whose requests go to one proxy."""

    def __init__(self, proxy_port: int):
        self.folder = tempfile.mkdtemp(prefix="firefox-")
        ports = {f"network.proxy.{kind}_port": proxy_port for kind in ("http", "ssl")}
        hosts = {f"network.proxy.{kind}": "127.0.0.1" for kind in ("http", "ssl")}
        lines = [f"user_pref({json.dumps(key)}, {json.dumps(value)});" for key, value in self._all(ports, hosts)]
        Path(self.folder, "user.js").write_text("\n".join(lines), encoding="utf-8")
        command = [str(FIREFOX), "--headless", "--no-remote", "--profile", self.folder, "--remote-debugging-port", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        self._socket = websocket.create_connection(f"{self._address()}/session", timeout=SECONDS, suppress_origin=True)
        threading.Thread(target=self._drain, daemon=True).start()
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        self.version = self.call("session.new", capabilities={})["capabilities"]["browserVersion"]
        self.call("session.subscribe", events=["log.entryAdded"])

    @staticmethod
    def _all(*more: dict[str, Any]) -> list[tuple[str, Any]]:
        return [item for part in (PREFERENCES, *more) for item in part.items()]

    def _address(self) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if "WebDriver BiDi listening on" in line:
                return line.split()[-1]
        raise RuntimeError(f"Firefox ended with {self.process.wait()}")

    def _drain(self) -> None:
        """Read what it prints on: it would wait once the pipe is full."""
        assert self.process.stderr is not None
        for _ in self.process.stderr:
            pass

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; events that come meanwhile are kept."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (answer := json.loads(self._socket.recv())).get("id") != number:
            self.events.append(answer)
        if answer["type"] == "error":
            raise RuntimeError(f"{method}: {answer['message']}")
        return dict(answer["result"])

    def new_page(self, preload: str = "") -> "FirefoxPage":
        """Open a tab; ``preload`` is a function that each of its documents runs before its own scripts."""
        return FirefoxPage(self, preload)

    def close(self) -> None:
        """End it, and delete its profile."""
        self._socket.close()
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)


class FirefoxPage:
    """A tab: what of Playwright's page these tests need."""

    def __init__(self, firefox: Firefox, preload: str):
        self._firefox = firefox
        self._context = firefox.call("browsingContext.create", type="tab")["context"]
        if preload:
            firefox.call("script.addPreloadScript", functionDeclaration=preload, contexts=[self._context])

    def resize(self, width: int, height: int) -> None:
        """Set the size of the view in px."""
        size = {"width": width, "height": height}
        self._firefox.call("browsingContext.setViewport", context=self._context, viewport=size)

    def goto(self, address: str) -> None:
        """Load a page."""
        self._firefox.call("browsingContext.navigate", context=self._context, url=address, wait="complete")

    def evaluate(self, function: str, argument: Any = None) -> Any:
        """Call a function in the page, and return what it gives back, or what the promise does."""
        code = f"(async () => JSON.stringify(await ({function})({json.dumps(argument)})) ?? 'null')()"
        target = {"context": self._context}
        answer = self._firefox.call("script.evaluate", expression=code, target=target, awaitPromise=True)
        if answer["type"] == "exception":
            raise RuntimeError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    def click(self, selector: str) -> None:
        """Click the middle of an element with the pointer."""
        x, y = self.evaluate(
            """selector => { const el = document.querySelector(selector); el.scrollIntoView({ block: "center" });
            const box = el.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2].map(Math.round); }""",
            selector,
        )
        moves = [{"type": "pointerMove", "x": x, "y": y}, {"type": "pointerDown", "button": 0}]
        self._act({"type": "pointer", "id": "mouse", "actions": [*moves, {"type": "pointerUp", "button": 0}]})

    def press(self, selector: str, key: str) -> None:
        """Press a key, as WebDriver names it, in an element that is focused first."""
        self.evaluate("selector => document.querySelector(selector).focus()", selector)
        keys = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self._act({"type": "key", "id": "keys", "actions": keys})

    def _act(self, source: dict[str, Any]) -> None:
        self._firefox.call("input.performActions", context=self._context, actions=[source])

    def problems(self) -> list[str]:
        """Return the errors that the console has had so far."""
        entries = [event["params"] for event in self._firefox.events if event.get("method") == "log.entryAdded"]
        mine = [entry for entry in entries if entry["source"].get("context") == self._context]
        return [entry["text"] for entry in mine if entry["level"] == "error"]

    def close(self) -> None:
        """Close the tab."""
        self._firefox.call("browsingContext.close", context=self._context)
