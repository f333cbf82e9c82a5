"""What every page must be, whatever it is of: whole, alone, readable by those who see no figure, and in a browser."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

import pytest

from gandistill.heads.training import HeadConfig

VOID = {"meta", "link"}


def quick(seed: int = 0, labels: Literal["hard", "soft"] = "hard") -> HeadConfig:
    """In the place of ``HeadConfig``: heads that are trained in no time."""
    return HeadConfig(updates=4, batch=4, seed=seed, labels=labels)


class Parsed(HTMLParser):
    """A page taken apart: tags that are open, headings, words, and the attributes of every element by its tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: dict[str, list[dict[str, str | None]]] = {}
        self.words: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == [], "every tag that is opened is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.setdefault(tag, []).append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.setdefault(tag, []).append(dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.words.append((self.open[-1], data))

    def said(self, tag: str) -> list[str]:
        return [data for within, data in self.words if within == tag]


def stands_alone(text: str) -> None:
    """A page asks nothing of anyone, and is made for a phone too."""
    page = Parsed(text)
    assert "script" not in page.found
    asked = [
        value
        for elements in page.found.values()
        for element in elements
        for name, value in element.items()
        if name in ("src", "href", "xlink:href", "srcset", "action", "data")
    ]
    assert asked
    assert all(value is not None and value.startswith(("data:", "#")) for value in asked)
    assert not re.search(r"@import|url\(|https?://", text)
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.found["meta"]
    assert "prefers-color-scheme:dark" in text


def told(text: str) -> list[str]:
    """What the figures of a page say in words: each something, and something else."""
    page = Parsed(text)
    figures = page.found["svg"]
    for figure in figures:
        assert figure["role"] == "img"
        assert len(figure["aria-label"] or "") > 40
    assert len(page.said("figcaption")) == len(page.found["figure"])
    assert len({figure["aria-label"] for figure in figures}) == len(figures), "no two say the same"
    return [figure["aria-label"] or "" for figure in figures]


def browsed(text: str, tmp_path: Path, width: int) -> int:
    """How many images a browser reads in a page of this width; it finds no error there, and nothing to fetch.

    A script of the test's own says what the browser made of it. Skips where there is none.
    """
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip(f"no browser on PATH: one of {', '.join(names)}, such as Debian's package chromium")
    frame = f'<iframe src="page.html" style="width:{width}px;height:800px;border:0"></iframe>'
    asking = """<script>onload = () => {
        const seen = frames[0].document, root = seen.documentElement;
        document.title = JSON.stringify({
            sideways: root.scrollWidth - root.clientWidth,
            figures: [...seen.querySelectorAll("svg[role=img]")].map(svg => svg.getBoundingClientRect().width),
            named: [...seen.querySelectorAll("svg[role=img]")].filter(svg => svg.getAttribute("aria-label")).length,
            images: [...seen.querySelectorAll("image")].filter(image => image.getBBox().width > 0).length,
            requests: frames[0].performance.getEntriesByType("resource").map(entry => entry.name)
                .filter(name => !name.startsWith("data:")),
        });
    }</script>"""
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    (tmp_path / "frame.html").write_text(f"<!DOCTYPE html><title></title>{frame}{asking}", encoding="utf-8")
    options = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
    alone = [
        "--disable-component-update",
        "--disable-quic",
        "--enable-logging=stderr",
        "--allow-file-access-from-files",
    ]
    command = [browser, *options.split(), *alone, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,900"]
    done = subprocess.run(
        [*command, "--dump-dom", (tmp_path / "frame.html").as_uri()],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None, done.stderr
    seen = json.loads(title[1])
    assert seen["sideways"] <= 0, "a page that scrolls to the side cannot be read on a phone"
    assert len(seen["figures"]) == seen["named"] == len(Parsed(text).found["svg"])
    assert min(seen["figures"]) > 200
    assert seen["requests"] == []
    return seen["images"]
