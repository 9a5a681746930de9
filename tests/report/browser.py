"""A headless Chromium, driven over the WebDriver protocol with nothing but the standard library."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # key of the WebDriver standard
KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Space": " ", "Backspace": "\ue003"}


def programs() -> tuple[str, str]:
    """Paths of the browser and its driver; skips the test where they are not installed."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("needs chromium and chromedriver (packages of the distribution)")
    return browser, driver


class Browser:
    """One window.

    Args:
        base: Address of the driver's session.
    """

    def __init__(self, base: str):
        self._base = base

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One command of the protocol."""
        return _request(method, f"{self._base}/{path}", body)

    def open(self, page: Path) -> None:
        """Load a file; what was logged before is forgotten."""
        for kind in ("browser", "performance"):
            self.call("POST", "se/log", {"type": kind})
        address = page.resolve().as_uri()
        self.call("POST", "url", {"url": address})
        where = {"expression": "location.href + ' ' + document.readyState"}
        for _ in range(200):  # the driver may come back before the last script has run
            state = self.devtools("Runtime.evaluate", where)["result"]["value"]
            if state == f"{address} complete":
                return
            time.sleep(0.02)
        raise RuntimeError(f"{address} was not loaded")

    def run(self, script: str, *arguments: object) -> Any:
        """Value of a function body in the page."""
        return self.call("POST", "execute/sync", {"script": script, "args": arguments})

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """Set the viewport, as a phone or a desktop would have it, and the colour scheme."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", {"features": [scheme]})

    def devtools(self, command: str, parameters: dict[str, Any]) -> Any:
        """A command of Chromium's own protocol."""
        return self.call("POST", "goog/cdp/execute", {"cmd": command, "params": parameters})

    def click(self, selector: str) -> None:
        """A real click: fails where the element is covered or not shown."""
        self.call("POST", f"element/{self._find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        """Replace the content of a field, key by key."""
        found = self._find(selector)
        self.call("POST", f"element/{found}/click", {})
        everything = "\ue009a\ue000"  # Ctrl+A, and all keys released
        self.call("POST", f"element/{found}/value", {"text": everything + (text or "\ue003")})

    def press(self, *names: str) -> None:
        """Press keys one after the other, wherever the focus is."""
        keys = [KEYS.get(name, name) for name in names]
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        source = {"type": "key", "id": "keyboard", "actions": actions}
        self.call("POST", "actions", {"actions": [source]})

    def screenshot(self) -> bytes:
        """The viewport as PNG."""
        return base64.b64decode(self.call("GET", "screenshot"))

    def pdf(self) -> bytes:
        """The page as it would be printed."""
        return base64.b64decode(self.call("POST", "print", {"background": False}))

    def console(self) -> list[str]:
        """Warnings and errors since the page was opened."""
        return [entry["message"] for entry in self.call("POST", "se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """Addresses asked for since the page was opened, but for those the policy stopped.

        A slow start still loads parts of the browser's own first tab then; they are left out.
        """
        entries = self.call("POST", "se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        stopped = {
            m["params"]["requestId"]
            for m in messages
            if m["method"] == "Network.loadingFailed" and m["params"].get("blockedReason") == "csp"
        }
        return [
            m["params"]["request"]["url"]
            for m in messages
            if m["method"] == "Network.requestWillBeSent"
            and m["params"]["requestId"] not in stopped
            and not m["params"].get("documentURL", "").startswith(("chrome:", "chrome-untrusted:"))
        ]

    def _find(self, selector: str) -> str:
        found = self.call("POST", "element", {"using": "css selector", "value": selector})
        return str(found[ELEMENT])


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Start a browser with a profile of its own, and end it.

    Args:
        profile: Folder for what it keeps.
    """
    program, driver = programs()
    port = _free_port()
    process = subprocess.Popen(
        [driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    base = f"http://127.0.0.1:{port}"
    try:
        _wait_for(base)
        options = {"binary": program, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        made = _request("POST", f"{base}/session", {"capabilities": {"alwaysMatch": wanted}})
        session = f"{base}/session/{made['sessionId']}"
        try:
            yield Browser(session)
        finally:
            _request("DELETE", session, None)
    finally:
        process.terminate()
        process.wait(timeout=20)


def _request(method: str, address: str, body: dict[str, Any] | None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    head = {"Content-Type": "application/json"}
    wanted = urllib.request.Request(address, data=data, headers=head, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(wanted, timeout=60) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        with error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(base: str) -> None:
    for _ in range(200):
        try:
            if _request("GET", f"{base}/status", None)["ready"]:
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("chromedriver did not start")
