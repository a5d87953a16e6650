"""A headless Chromium, spoken to over its debugging pipe: what a page shows and complains about."""

import itertools
import json
import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


class Browser:
    """One page of a running browser."""

    def __init__(self, write, read):
        self.write, self.read, self.ids = write, read, itertools.count(1)
        self.session, self.complaints, self.loaded = None, [], False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        message = {"id": next(self.ids), "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.write.write(json.dumps(message).encode() + b"\0")
        self.write.flush()
        while (answer := self._next()).get("id") != message["id"]:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self):
        received = bytearray()
        while (byte := self.read.read(1)) != b"\0":
            assert byte, "the browser ended"
            received += byte
        message = json.loads(received)
        kind, told = message.get("method"), message.get("params", {})
        if kind in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.complaints.append(told)
        if kind == "Network.requestWillBeSent" and not told["request"]["url"].startswith("file:"):
            self.complaints.append(told["request"]["url"])
        self.loaded = self.loaded or kind == "Page.loadEventFired"
        return message

    def open(self, path, *, width, dark=False):
        """Load a file in a window of this width."""
        height = 900
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.loaded = False
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not self.loaded:
            self._next()

    def reload(self):
        """Load the page again."""
        self.loaded = False
        self.call("Page.reload")
        while not self.loaded:
            self._next()

    def evaluate(self, expression):
        """Give the value of a JavaScript expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def screenshot(self):
        """Give a PNG of the whole page, base64-encoded."""
        return self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]


@contextmanager
def browser(profile):
    """Run a browser while the block runs; `profile` is an empty folder for it."""
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()

    def connect():  # the browser listens on descriptor 3 and answers on 4
        low, high = os.dup(to_read), os.dup(from_write)
        os.dup2(low, 3)
        os.dup2(high, 4)

    process = subprocess.Popen(
        [
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
            f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank",
        ],
        preexec_fn=connect, close_fds=False, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(to_read)
    os.close(from_write)
    try:
        with os.fdopen(to_write, "wb") as write, os.fdopen(from_read, "rb") as read:
            yield Browser(write, read)
    finally:
        process.kill()
        process.wait()
