#!/usr/bin/env python3
"""Opens the status page of a live cluster in headless Chromium and checks it as a person sees it.

usage: status_page.py URL FOLDER CHROMIUM CHROMEDRIVER

eid_status_SUITE runs this script. A line on standard output requests an action: "leave" makes a node leave, and "end"
ends the page's node. The suite confirms the action with a line on standard input. Screenshots go to FOLDER. The last
line of the output is "ok".
"""

import os
import signal
import sys
import time

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

URL, FOLDER, CHROMIUM, CHROMEDRIVER = sys.argv[1:5]
WIDTHS = (375, 1280)
SCHEMES = ("light", "dark")
LIMIT = 150  # seconds for everything

# Finds each visible text whose contrast to its background is too low.
CONTRAST = """
const parse = text => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
const light = color => {
  const [r, g, b] = color.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = element => {
  const layers = [];
  for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
  return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
};
const opacity = element => element ? getComputedStyle(element).opacity * opacity(element.parentElement) : 1;
const check = (element, style, text) => {
  const back = behind(element), color = parse(style.color);
  color[3] *= opacity(element);
  const [a, b] = [light(over(color, back)), light(back)].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  seen += 1;
  if (ratio < 4.5) poor.push(`${ratio.toFixed(2)}: ${text.trim().slice(0, 60)}`);
};
const poor = [];
let seen = 0;
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
  const element = node.parentElement, style = getComputedStyle(element), range = document.createRange();
  range.selectNodeContents(node);
  if (node.nodeValue.trim() && style.visibility === 'visible' && range.getClientRects().length)
    check(element, style, node.nodeValue);
}
for (const element of document.querySelectorAll('main *')) {
  const style = getComputedStyle(element, '::before');
  if (style.content.startsWith('"') && element.getClientRects().length) check(element, style, style.content);
}
return { poor, seen };
"""


def ask(what):
    print(what, flush=True)
    answer = sys.stdin.readline().strip()
    assert answer == "done", f"requested {what}, but got {answer!r}"


def wait_until(holds, what, seconds=30):
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"timed out: {what}"
        time.sleep(0.1)


def show(driver, scheme, width, height=900):
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                           {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})


def picture(driver, name, scheme, width):
    height = driver.execute_script("return document.documentElement.scrollHeight")
    show(driver, scheme, width, max(900, height))
    driver.save_screenshot(os.path.join(FOLDER, f"{name}-{scheme}-{width}.png"))
    show(driver, scheme, width)


def check(driver, where):
    inner, scroll = driver.execute_script("return [innerWidth, document.documentElement.scrollWidth]")
    assert scroll <= inner, f"{where}: scrolls sideways, {scroll} in {inner} pixels"
    contrast = driver.execute_script(CONTRAST)
    assert contrast["seen"] > 20, f"{where}: found only {contrast['seen']} texts"
    assert not contrast["poor"], f"{where}: {contrast['poor']}"


def headline(driver):
    return driver.execute_script("return document.querySelector('.headline').innerText")


def look(driver):
    for scheme in SCHEMES:
        for width in WIDTHS:
            show(driver, scheme, width)
            driver.get(URL)
            check(driver, f"{scheme}, {width}")
            picture(driver, "cluster", scheme, width)
            driver.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
            check(driver, f"{scheme}, {width}, unfolded")
    # The suite's nodes have markup in their texts. Without escaping, the page would have elements or dialogs here.
    assert driver.execute_script("return document.querySelectorAll('main script, main img, main style').length") == 0


def node_leaves(driver):
    """When a node leaves, the page updates its texts and keeps scroll position, focus and selection."""
    before = headline(driver)
    driver.execute_script("""
        window.isTheSame = true;
        const fold = document.querySelector('details'); fold.open = true; fold.querySelector('summary').focus();
        scrollTo(0, 120);
        getSelection().selectAllChildren(document.querySelector('h1'));""")
    position, selected = driver.execute_script("return [scrollY, getSelection().toString()]")
    assert position == 120 and selected
    ask("leave")
    wait_until(lambda: headline(driver) != before, "the page shows that a node has left")
    same, fold, focus, now, still = driver.execute_script("""
        return [window.isTheSame, document.querySelector('details').open, document.activeElement.tagName, scrollY,
                getSelection().toString()]""")
    assert same, "the page was reloaded"
    assert fold, "the open section was closed"
    assert focus == "SUMMARY", f"the focus went to {focus}"
    assert now == position, f"it scrolled from {position} to {now}"
    assert still == selected, f"{selected!r} was selected, and now {still!r}"
    for scheme in SCHEMES:
        for width in WIDTHS:
            show(driver, scheme, width)
            check(driver, f"a node has left, {scheme}, {width}")
            picture(driver, "left", scheme, width)


def page_goes_away(driver):
    assert not driver.get_log("browser"), "the browser logged errors"
    ask("end")
    lost = "return document.getElementById('lost').checkVisibility() && document.getElementById('lost').innerText"
    wait_until(lambda: "Not answering since" in (driver.execute_script(lost) or ""), "the page reports its lost node")
    for scheme in SCHEMES:
        show(driver, scheme, 375)
        check(driver, f"no answer, {scheme}")
    picture(driver, "lost", "dark", 375)


def descendants(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    fields = stat.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found += [(int(entry), fields[19])] + descendants(int(entry))
    return found


def end(processes):
    """Kills these processes if they still run. The start time shows whether another process has got the same ID."""
    for pid, started in processes:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rsplit(")", 1)[1].split()[19] == started:
                    os.kill(pid, signal.SIGKILL)
        except OSError:
            pass


def too_long(*_):
    raise TimeoutError(f"not finished in {LIMIT} seconds")


def main():
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LIMIT)
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    driver, processes = None, []
    try:
        driver = webdriver.Chrome(service=Service(CHROMEDRIVER), options=options)
        driver.set_page_load_timeout(30)
        look(driver)
        node_leaves(driver)
        page_goes_away(driver)
    finally:
        signal.alarm(20)
        processes = descendants(os.getpid())
        try:
            if driver:
                driver.quit()
        finally:
            end(processes)
    print("ok", flush=True)


main()
