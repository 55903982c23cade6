"""Debian's chromium without a network, by its own driver: what a reader's browser makes of a page."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

CHROMIUM, DRIVER, PDFTOTEXT = (shutil.which(name) for name in ("chromium", "chromedriver", "pdftotext"))
THERE = bool(CHROMIUM and DRIVER and PDFTOTEXT)
HEIGHT = 900
TAB = {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}

# What is wrong with the page as it is laid out now, in words.
FAULTS = r"""
const faults = [], say = (text, node) => faults.push(text + (node ? ': ' + node.outerHTML.slice(0, 160) : ''));
const root = document.documentElement, shown = node => node.checkVisibility();
for (const one of document.querySelectorAll('details')) one.open = true;
if (root.scrollWidth > innerWidth)
  say(`the page is ${root.scrollWidth} px wide in a window of ${innerWidth}`,
      [...document.querySelectorAll('main *')].find(node => node.getBoundingClientRect().right > innerWidth + 1
        && !node.closest('.scroll, svg')));
const drawings = [...document.querySelectorAll('svg[role=img]')];
for (const svg of drawings) {
  const box = svg.getBoundingClientRect(), inner = svg.getBBox();
  if (box.width < 150 || box.height < 40 || inner.width < 50 || inner.height < 20) say('a figure is not drawn', svg);
  if (!svg.getAttribute('aria-label')) say('a figure has no name', svg);
  if (box.right > innerWidth) say('a figure is cut off', svg);
}
for (const img of document.images)
  if (!img.complete || !img.naturalWidth || !img.alt) say('an image is not shown', img);
let level = 0;
for (const head of document.querySelectorAll('h1, h2, h3, h4')) {
  if (+head.tagName[1] > level + 1) say('a heading skips a level', head);
  level = +head.tagName[1];
}
for (const table of document.querySelectorAll('table')) {
  if (!table.caption || !table.caption.textContent.trim()) say('a table has no caption', table);
  for (const head of table.querySelectorAll('th')) if (!head.scope) say('a header has no scope', head);
}
for (const node of document.querySelectorAll('a[href^="#"]'))
  if (!document.getElementById(node.getAttribute('href').slice(1))) say('a link leads nowhere', node);
for (const node of document.querySelectorAll('button, input, a[href], summary'))
  if (!(node.textContent.trim() || node.getAttribute('aria-label') || (node.labels || []).length))
    say('nothing says what it does', node);
const rgb = text => text.match(/[\d.]+/g).map(Number), light = ([r, g, b]) => {
  const [x, y, z] = [r, g, b].map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * x + 0.7152 * y + 0.0722 * z; };
const ground = node => { for (; node; node = node.parentElement) {
  const found = rgb(getComputedStyle(node).backgroundColor); if (found.length < 4 || found[3] === 1) return found; }
  return [255, 255, 255]; };
const seen = new Set();
const words = 'h1, h2, h3, p, a, th, td, dt, dd, caption, summary, button, .name, .under, .interval, .none, text';
for (const node of document.querySelectorAll(words)) {
  if (!shown(node) || !node.textContent.trim()) continue;
  const style = getComputedStyle(node), on = ground(node);
  const ink = rgb(node.tagName === 'text' ? style.fill : style.color);
  const key = ink + '|' + on; if (seen.has(key)) continue; seen.add(key);
  const [high, low] = [light(ink), light(on)].sort((a, b) => b - a);
  if ((high + 0.05) / (low + 0.05) < 4.5) say(`text of contrast ${((high + .05) / (low + .05)).toFixed(2)}`, node);
}
return {faults, drawings: drawings.length, tables: document.querySelectorAll('table').length};
"""
REACHABLE = "a[href], button, input, summary, [tabindex='0']"
USABLE = f"""
return [...document.querySelectorAll({json.dumps(REACHABLE)})].filter(node => node.checkVisibility())
"""


class Browser:
    """One browser without a network."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def ask(self, name: str, **values: Any) -> Any:
        """A command of Chrome's DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, values)

    def open(self, path: Path, width: int = 1600, scheme: str = "light", script: bool = True) -> None:
        """A page at a width, in light or dark, with or without JavaScript."""
        self.ask("Emulation.setScriptExecutionDisabled", value=not script)
        self.look(width, scheme)
        self.driver.get(path.as_uri())

    def look(self, width: int, scheme: str) -> None:
        """The page that is open at another width, in another scheme of colours."""
        size = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def faults(self) -> tuple[list[str], int, int]:
        """What is wrong with the page that is open; how many figures and tables it has."""
        told = self.driver.execute_script(FAULTS)
        return told["faults"], told["drawings"], told["tables"]

    def noted(self) -> tuple[list[str], list[str]]:
        """The entries of the console, and what was requested, since this was asked before."""
        console = [f"{entry['level']} {entry['message']}" for entry in self.driver.get_log("browser")]
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]
        return console, sent

    def unreached(self) -> list[str]:
        """The elements that can be used and that the Tab key does not come to."""
        self.driver.execute_script("document.activeElement.blur()")
        names = self.driver.execute_script(f"{USABLE}.map(node => node.outerHTML.slice(0, 160))")
        missed = set(range(len(names)))
        for _ in range(len(names) + 2):
            for kind in ("rawKeyDown", "keyUp"):
                self.ask("Input.dispatchKeyEvent", type=kind, **TAB)
            missed.discard(self.driver.execute_script(f"{USABLE}.indexOf(document.activeElement)"))
        return [names[place] for place in sorted(missed)]

    def print(self, path: Path) -> str:
        """Print the page to a PDF; returns its text, a form feed after each page."""
        told = self.ask("Page.printToPDF", printBackground=False, preferCSSPageSize=True, generateTaggedPDF=True)
        path.write_bytes(base64.b64decode(told["data"]))
        words = [str(PDFTOTEXT), "-layout", str(path), "-"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser that ends with the block; `profile` is a new folder for what it writes."""
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for word in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={profile}", "--window-size=1600,900",
    ):  # fmt: skip
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    proxies = {name: os.environ.pop(name) for name in list(os.environ) if name.lower().endswith("_proxy")}
    try:
        driver = Chrome(options, ChromeService(str(DRIVER)))
    finally:
        os.environ.update(proxies)
    try:
        opened = Browser(driver)
        opened.ask("Network.enable")
        opened.ask(
            "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0
        )
        opened.noted()
        yield opened
    finally:
        driver.quit()
