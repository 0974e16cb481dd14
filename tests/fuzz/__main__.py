"""``python -m tests.fuzz TARGET [SECONDS]``: a fuzzer that is guided by coverage; needs ``pip install atheris``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["exporter"]):
    from tests.fuzz.targets import TARGETS

from tests.fuzz.seeds import SEEDS


def main() -> None:
    """Runs until something fails, or for so many seconds."""
    name, seconds = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "60"
    corpus = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    for number, seed in enumerate(SEEDS[name]):
        (corpus / str(number)).write_bytes(seed)
    options = [sys.argv[0], f"-max_total_time={seconds}", "-max_len=20000", "-rss_limit_mb=4096", str(corpus)]
    atheris.Setup(options, TARGETS[name])
    atheris.Fuzz()


main()
