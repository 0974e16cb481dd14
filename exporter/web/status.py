"""The status page: plain HTML, readable without scripts, with nothing from another host."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from html import escape
from typing import Final
from urllib.parse import quote

from exporter.web.pages import AgentStatus, Status

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60646c; --line: #e0e1e6; --back: #fcfcfd; --card: #fff;
  --link: #0d74ce; --good: #18794e; --bad: #ce2c31; --idle: #80838d; }
@media (prefers-color-scheme: dark) { :root { --ink: #edeef0; --soft: #b0b4ba; --line: #2e3135; --back: #111113;
  --card: #18191b; --link: #70b8ff; --good: #3dd68c; --bad: #ff9592; --idle: #777b84; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2.5rem 1.25rem 4rem; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; letter-spacing: -.01em; }
h1 small { margin-left: .4rem; color: var(--soft); font-size: .9rem; font-weight: 400; letter-spacing: 0; }
p { margin: .4rem 0; color: var(--soft); }
a { color: var(--link); text-decoration-thickness: 1px; text-underline-offset: .2em; }
nav { display: flex; flex-wrap: wrap; gap: .5rem 1.25rem; margin: 1rem 0 2rem; }
.frame { overflow-x: auto; border: 1px solid var(--line); border-radius: .6rem; background: var(--card); }
table { width: 100%; border-collapse: collapse; font-size: .925rem; }
caption { padding: .8rem 1rem; text-align: left; font-weight: 600; }
th, td { padding: .6rem 1rem; border-top: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { color: var(--soft); font-size: .8rem; font-weight: 500; white-space: nowrap; }
tbody th { min-width: 12rem; font-weight: 500; overflow-wrap: anywhere; }
tbody th small { display: block; color: var(--soft); font-weight: 400; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.when { white-space: nowrap; }
.error { min-width: 14rem; color: var(--soft); overflow-wrap: anywhere; }
.state::before { content: ""; display: inline-block; width: .55em; height: .55em; margin-right: .5em;
  border-radius: 50%; background: var(--idle); }
.good::before { background: var(--good); }
.bad { color: var(--bad); }
.bad::before { background: var(--bad); }
"""
STYLE_HASH: Final = "sha256-" + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
"""What the Content-Security-Policy allows this style by."""
_ICON: Final = "data:image/svg+xml," + quote(
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><rect width='16' height='16' rx='4' fill='#0d74ce'/>"
    "<path d='M3 12V9M6.3 12V6M9.6 12V8M13 12V4' stroke='#fff' stroke-width='1.6'/></svg>"
)
_UNKNOWN: Final = "–"  # noqa: RUF001 -- a dash for what is not known
_CLASSES: Final = {True: "good", False: "bad", None: "idle"}
_SPANS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_COLUMNS: Final = (
    ("Agent", ""),
    ("State", ""),
    ("Last poll", ""),
    ("Tasks", "number"),
    ("Calls", "number"),
    ("History read", "number"),
    ("Last error", ""),
)


def render(status: Status, telemetry_path: str) -> str:
    """The page. Its links are relative, so that it works behind a path prefix as well."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>Unpod exporter</title>\n<link rel="icon" href="{_ICON}">\n<style>{STYLE}</style>\n</head>\n<body>\n'
        f"<header>\n<h1>Unpod exporter <small>{escape(status.version)}</small></h1>\n"
        "<p>Prometheus metrics of the calls and tasks of Unpod voice agents. "
        f"Running for {_span(status.now - status.started)}.</p>\n</header>\n"
        f"{_links(telemetry_path)}<main>\n{_notice(status)}{_agents(status)}</main>\n</body>\n</html>\n"
    )


def _links(telemetry_path: str) -> str:
    targets = {
        "Metrics": telemetry_path,
        "Health": "/-/healthy",
        "Readiness": "/-/ready",
        "Agents as JSON": "/api/agents",
    }
    links = (f'<a href="{escape(path.removeprefix("/"))}">{name}</a>\n' for name, path in targets.items())
    return f'<nav aria-label="Pages">\n{"".join(links)}</nav>\n'


def _notice(status: Status) -> str:
    return f'<p class="bad">{escape(status.notice)}</p>\n' if status.notice else ""


def _agents(status: Status) -> str:
    if not status.agents:
        return "<p>No agents are known yet.</p>\n"
    up = sum(agent.up is True for agent in status.agents)
    head = "".join(f'<th scope="col"{_class(name)}>{title}</th>' for title, name in _COLUMNS)
    rows = "".join(_row(agent, status.now) for agent in sorted(status.agents, key=lambda agent: agent.handle))
    return (
        f'<div class="frame"><table>\n<caption>{_count(len(status.agents), "agent")}, {up:,} up</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )


def _row(agent: AgentStatus, now: float) -> str:
    name = f"<small>{escape(agent.name)}</small>" if agent.name else ""
    cells = (
        ("when", f'<span class="state {_CLASSES[agent.up]}">{escape(agent.state)}</span>'),
        ("when", _UNKNOWN if agent.last_poll is None else f"{_span(now - agent.last_poll)} ago"),
        ("number", _number(agent.tasks)),
        ("number", _number(agent.calls)),
        ("number", _UNKNOWN if agent.history_ratio is None else _percent(agent.history_ratio)),
        ("error", escape(agent.last_error or "")),
    )
    return f'<tr><th scope="row">{escape(agent.handle)}{name}</th>{_cells(cells)}</tr>\n'


def _cells(cells: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<td{_class(name)}>{content}</td>" for name, content in cells)


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _number(value: int | None) -> str:
    return _UNKNOWN if value is None else f"{value:,}"


def _percent(ratio: float) -> str:
    """Whole per cents, never rounded up: 100 % is all of it."""
    return f"{int(ratio * 100)} %"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _span(seconds: float) -> str:
    """A duration in its largest unit."""
    for size, unit in _SPANS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "0 s"
