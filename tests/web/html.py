"""What stands on a page, read as a browser would read it."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """The cells of each row, the links, the words that can be seen, and every tag of a page."""

    VOID = frozenset({"meta", "link", "input"})
    SHAPES = frozenset({"circle", "path", "rect"})
    UNSEEN = frozenset({"style", "script", "title"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.links: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.title = ""
        self._words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open, "every element is closed"

    @property
    def words(self) -> str:
        """All text, with single spaces."""
        return " ".join(" ".join(self._words).split())

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "a":
            self.links.append(dict(attrs)["href"] or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] = " ".join(f"{self.rows[-1][-1]} {data}".split())
        if "title" in self._open:
            self.title += data
        if not self.UNSEEN & set(self._open):
            self._words.append(data)
