"""The past of an agent with a long history: what it costs to write, and what promtool makes of it."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.measure import in_process, platform
from benchmarks.platform import Platform
from benchmarks.table import Row, scaled

_TASKS: Final = 1_000_000
_BYTES: Final = 2_000
"""Of a task."""
_OPEN: Final = 50
_DAYS: Final = 180
_BLOCK: Final = "162h"


def rows(scale: float) -> Iterator[Row]:
    """Processor time, memory and sizes."""
    tasks = scaled(_TASKS, scale)
    apart = _DAYS * 86_400 / tasks
    name = f"the past of {tasks:,} tasks in {_DAYS} days, a sample a minute"
    with tempfile.TemporaryDirectory() as path, platform(tasks, _BYTES, _OPEN, apart) as url:
        folder = Path(path)
        ends = Platform.BEGIN + _DAYS * 86_400 + 600
        past = in_process("past", url, folder, ends, _BLOCK)
        files = sorted(folder.glob("past-*.om"))
        text = sum(file.stat().st_size for file in files)
        yield Row(f"{name}: processor time", f"{past['cpu']:.0f} s")
        yield Row(f"{name}: peak memory", f"{past['peak'] / 1e6:.0f} MB", "", "at most 100 MB")
        yield Row(f"{name}: size of the texts", f"{text / 1e6:.0f} MB, {text / past['samples']:.0f} bytes a sample")
        made = in_process("blocks", folder, _BLOCK)
        blocks = sum(file.stat().st_size for file in (folder / "blocks").rglob("*") if file.is_file())
        yield Row(f"{name}: promtool", f"{made['wall']:.0f} s, peak memory {made['peak'] / 1e6:.0f} MB")
        yield Row(f"{name}: size of the blocks", f"{blocks / 1e6:.0f} MB")


def promtool(folder: Path, block: str) -> None:
    """Makes blocks of the texts in a folder, one after the other."""
    for file in sorted(folder.glob("past-*.om")):
        command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", f"--max-block-duration={block}"]
        subprocess.run([*command, file, folder / "blocks"], check=True, stdout=subprocess.DEVNULL)
