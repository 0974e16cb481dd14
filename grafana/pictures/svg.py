"""Elements of SVG and HTML as text."""

from __future__ import annotations

from html import escape


def tag(name: str, inside: str = "", /, **attributes: object) -> str:
    """An element. In names of attributes, ``_`` stands for ``-``; one at the end is left out."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value), quote=True)}"' for key, value in attributes.items()
    )
    return f"<{name}{told}>{inside}</{name}>"


def text(content: str, x: float, y: float, *, anchor: str = "start", class_: str = "tick") -> str:
    """A line of text in a drawing."""
    return tag("text", escape(content), x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, **attributes: object) -> str:
    """A straight line."""
    return tag("line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}", **attributes)


def rect(x: float, y: float, width: float, height: float, **attributes: object) -> str:
    """A rectangle."""
    return tag("rect", x=f"{x:.2f}", y=f"{y:.2f}", width=f"{width:.2f}", height=f"{height:.2f}", **attributes)
