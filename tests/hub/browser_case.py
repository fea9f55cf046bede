"""Headless Chromium, driven through the pipe of its own DevTools protocol: no package is needed for that."""

import base64
import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

FLAGS = (
    "--headless",
    "--no-sandbox",  # the tests may run as root, where Chromium has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--remote-debugging-pipe",
)


@dataclass
class Browser:
    """One tab. What the page itself logs, violations of its policy included, is kept in `log`."""

    commands: IO[bytes]
    answers: IO[bytes]
    session: str = ""
    log: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)
    has_loaded: bool = False
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def start(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self.numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.commands.write(json.dumps(message).encode() + b"\0")
        self.commands.flush()
        while (answer := self._next()).get("id") != number:
            self._note(answer)
        assert "error" not in answer, answer
        return dict(answer["result"])

    def open(self, url: str, width: int = 1280, height: int = 900) -> None:
        """Show a page in a window of this size and wait until it has loaded."""
        self.log.clear()
        self.requested.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.has_loaded = False
        self.call("Page.navigate", url=url)
        self._wait_until_loaded()
        # What has still to be said about the page comes before the answer to this.
        self.evaluate("0")

    def click(self, selector: str, *, loads: bool = False) -> None:
        """Click on what `selector` finds, as a mouse does, and wait for the next page if that `loads` one."""
        script = f"""(() => {{
            const element = document.querySelector({json.dumps(selector)});
            element.scrollIntoView({{block: "center"}});
            const box = element.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()"""
        x, y = self.evaluate(script)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        if loads:
            self._wait_until_loaded()

    def evaluate(self, script: str) -> Any:
        """Return what `script` comes to in the page; the page's policy does not bind it."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def _wait_until_loaded(self) -> None:
        while not self.has_loaded:
            self._note(self._next())
        self.has_loaded = False

    def _next(self) -> dict[str, Any]:
        text = bytearray()
        while (byte := self.answers.read(1)) != b"\0":
            assert byte, "the browser is gone"
            text += byte
        return dict(json.loads(text))

    def _note(self, event: dict[str, Any]) -> None:
        if event.get("method") == "Log.entryAdded":
            self.log.append(event["params"]["entry"]["text"])
        elif event.get("method") == "Runtime.consoleAPICalled":
            self.log.append(str(event["params"]["args"]))
        elif event.get("method") == "Page.loadEventFired":
            self.has_loaded = True
        elif event.get("method") == "Network.requestWillBeSent":
            self.requested.append(event["params"]["request"]["url"])


@contextmanager
def running_browser(chromium: str, profile: Path) -> Iterator[Browser]:
    child_in, commands = os.pipe()
    answers, child_out = os.pipe()
    with (
        os.fdopen(commands, "wb") as writer,
        os.fdopen(answers, "rb") as reader,
        # Chromium reads its file 3 and writes its file 4.
        subprocess.Popen(
            [
                *("bash", "-c", f'exec "$@" 3<&{child_in} 4>&{child_out}', "bash"),
                *(chromium, *FLAGS, f"--user-data-dir={profile}"),
            ],
            pass_fds=(child_in, child_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as child,
    ):
        os.close(child_in)
        os.close(child_out)
        try:
            browser = Browser(writer, reader)
            browser.start()
            yield browser
            browser.session = ""
            browser.call("Browser.close")
        finally:
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
