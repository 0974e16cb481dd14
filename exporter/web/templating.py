"""Pages from templates: everything that is put into them is escaped, and what they run and how they look is theirs."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from exporter.web import words


def _asset(name: str) -> str:
    return files("exporter.web").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


_STYLE: Final = _asset("style.css")
_SCRIPT: Final = _asset("refresh.js")
POLICY: Final = (
    f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""The Content-Security-Policy: the style and the script of the pages, and nothing else."""
REFRESH: Final = 5
"""Seconds between two looks of the script at the page that it is on."""
_CODE: Final = re.compile(r"`([^`]*)`")
_COLOURS: Final = {"good": "#18794e", "bad": "#ce2c31", "warn": "#ad5700", "busy": "#0d74ce"}


def _icon(level: str) -> str:
    """The sign of a page in the list of tabs: its colour is that of the headline."""
    return "data:image/svg+xml," + quote(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>"
        f"<rect width='16' height='16' rx='4' fill='{_COLOURS[level]}'/>"
        "<path d='M3 12V9M6.3 12V6M9.6 12V8M13 12V4' stroke='#fff' stroke-width='1.6'/></svg>"
    )


def segment(handle: str) -> str:
    """A handle as the rest of a path. Of dots alone it would be taken for a folder, so it goes into the query."""
    return quote(handle, safe="") if handle.strip(".") else f"?handle={handle}"


def _prose(text: str) -> Markup:
    """Text in which backticks mark code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 -- escaped just before


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("exporter.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= {
        "style": Markup(_STYLE),  # noqa: S704 -- a file of ours
        "script": Markup(_SCRIPT),  # noqa: S704 -- a file of ours
        "refresh": REFRESH,
        "icon": _icon,
        "unknown": words.UNKNOWN,
    }
    readers = (words.ago, words.until, words.span, words.took, words.stamp, words.clock, words.number, words.percent)
    environment.filters |= {
        reader.__name__: reader
        for reader in (*readers, words.size, words.every, words.count, words.news, words.measured)
    }
    environment.filters |= {"prose": _prose, "segment": segment}
    return environment


_ENVIRONMENT: Final = _environment()


def page(template: str, **content: Any) -> str:
    """The HTML of a template."""
    return _ENVIRONMENT.get_template(template).render(content)
