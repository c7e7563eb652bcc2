# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""A real Chromium, driven by Debian's chromedriver over WebDriver (W3C), with the
standard library alone."""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from muster import free_port, until

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
MISSING = None if CHROMIUM and DRIVER else "no chromium with chromedriver here"
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver 11.2


class Browser:
    def __init__(self):
        self.port = free_port()
        self.folder = tempfile.mkdtemp(prefix="muster-browser-")
        self.driver = subprocess.Popen(
            [DRIVER, f"--port={self.port}", "--log-level=OFF"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._answers, "chromedriver")
        options = {"binary": CHROMIUM, "args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync",
            f"--user-data-dir={self.folder}"]}
        made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"}}}})
        self.session = f"/session/{made['sessionId']}"

    def _answers(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self._ask("GET", "/status")["ready"]
        return False

    def _ask(self, method, path, body=None):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            c.request(method, path,
                      json.dumps(body) if body is not None else None,
                      {"Content-Type": "application/json"})
            value = json.loads(c.getresponse().read())["value"]
        finally:
            c.close()
        if isinstance(value, dict) and "error" in value:
            raise AssertionError(f"{method} {path}: {value['error']}: "
                                 f"{value['message'][:500]}")
        return value

    def _command(self, method, path, body=None):
        return self._ask(method, self.session + path, body)

    def close(self):
        with contextlib.suppress(Exception):
            self._ask("DELETE", self.session)
        self.driver.terminate()
        self.driver.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def open(self, url):
        self._command("POST", "/url", {"url": url})

    def run(self, script, *args):
        """What the function body returns in the page."""
        return self._command("POST", "/execute/sync",
                             {"script": script, "args": list(args)})

    def text(self, css="main"):
        return self.run("return [...document.querySelectorAll(arguments[0])]"
                        ".map(e => e.innerText).join('\\n')", css)

    def texts(self, css):
        return self.run("return [...document.querySelectorAll(arguments[0])]"
                        ".map(e => e.innerText)", css)

    def shows(self, text, css="main"):
        until(lambda: text in self.text(css), f"{text!r} in {css}")

    def shows_not(self, text, css="main"):
        until(lambda: text not in self.text(css), f"no {text!r} in {css}")

    def find(self, css):
        return self._command("POST", "/element",
                             {"using": "css selector", "value": css})[ELEMENT]

    def click(self, css):
        self._command("POST", f"/element/{self.find(css)}/click", {})

    def type(self, css, keys):
        self._command("POST", f"/element/{self.find(css)}/value", {"text": keys})

    def press(self, *keys):
        """On whatever has the focus."""
        actions = []
        for key in keys:
            actions += [{"type": "keyDown", "value": key},
                        {"type": "keyUp", "value": key}]
        self._command("POST", "/actions", {"actions": [
            {"type": "key", "id": "keyboard", "actions": actions}]})

    def size(self, width, height):
        self._command("POST", "/goog/cdp/execute", {
            "cmd": "Emulation.setDeviceMetricsOverride",
            "params": {"width": width, "height": height,
                       "deviceScaleFactor": 1, "mobile": False}})

    def scheme(self, name):
        self._command("POST", "/goog/cdp/execute", {
            "cmd": "Emulation.setEmulatedMedia", "params": {"features": [
                {"name": "prefers-color-scheme", "value": name}]}})

    def complaints(self):
        """What the browser's console says went wrong, since the last call."""
        log = self._command("POST", "/se/log", {"type": "browser"})
        return [e["message"] for e in log if e["level"] in ("SEVERE", "WARNING")]

    def screenshot(self, name):
        """Into the folder that $MUSTER_SCREENSHOTS names, if it is set."""
        folder = os.environ.get("MUSTER_SCREENSHOTS")
        if folder:
            pathlib.Path(folder, name).write_bytes(
                base64.b64decode(self._command("GET", "/screenshot")))
