"""``python -m grafana`` writes the dashboards to grafana/dashboards and the list of panels to grafana/README.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.boards.agent import agent
from grafana.boards.exporter import exporter
from grafana.boards.fleet import fleet

HERE: Final = Path(__file__).parent
_LIST: Final = re.compile(r"(<!-- begin: panels -->\n).*?(<!-- end -->)", re.DOTALL)


def boards() -> Iterator[dict[str, Any]]:
    """The dashboards, as they stand in their files."""
    for made in (fleet, agent, exporter):
        board: dict[str, Any] = json.loads(json.dumps(made().build(), cls=JSONEncoder))
        yield board


def written(board: Mapping[str, Any]) -> str:
    """The text of a dashboard's file."""
    return json.dumps(board, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def listed(page: str) -> str:
    """The page with the list of panels as they are now."""
    text = "\n".join(line for board in boards() for line in _panels(board))
    return _LIST.sub(lambda found: f"{found[1]}{text}{found[2]}", page)


def _panels(board: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {board['title'].removeprefix('Unpod / ')}\n"
    yield f"{board['description']}\n"
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield f"\n**{panel['title']}**\n"
        else:
            yield f"- *{panel['title']}*: {panel['description']}"
    yield ""


def main() -> None:
    """Writes the files."""
    for board in boards():
        (HERE / "dashboards" / f"{board['uid']}.json").write_text(written(board), encoding="utf-8")
    readme = HERE / "README.md"
    readme.write_text(listed(readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
