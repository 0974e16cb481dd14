from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from exporter.config import Config, ConfigError, load

Load = Callable[..., Config]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(text: str | bytes) -> Path:
        path = tmp_path / "config.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def read(write: Callable[[str | bytes], Path]) -> Load:
    """The settings of a file with this text."""

    def read(text: str | bytes, environ: Mapping[str, str] | None = None, **options: str) -> Config:
        return load(write(text), environ or {}, **options)

    return read


@pytest.fixture
def problems(write: Callable[[str | bytes], Path]) -> Callable[..., list[str]]:
    """What is wrong with a file with this text: the lines of the error, without the directory."""

    def problems(text: str | bytes, environ: Mapping[str, str] | None = None) -> list[str]:
        path = write(text)
        with pytest.raises(ConfigError) as caught:
            load(path, environ or {})
        return str(caught.value).replace(f"{path.parent}/", "").splitlines()

    return problems
