"""Certificates of an authority that exists for as long as a test."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import trustme


class Files(NamedTuple):
    """A certificate and its key, each in a file."""

    cert: Path
    key: Path


class Authority:
    """An authority, and what it has issued, as files in a folder."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._ca = trustme.CA()
        self._folder = folder
        self._name = name
        self.cert = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(self.cert)

    def issue(self, *names: str, file: str, valid: tuple[float, float] | None = None) -> Files:
        """A certificate with these names, ``valid`` from one to the other Unix time (None: for long). Written over one
        of the same file, as somebody does who renews it."""
        begins, ends = (None, None) if valid is None else (datetime.fromtimestamp(moment, UTC) for moment in valid)
        issued = self._ca.issue_cert(*names, not_before=begins, not_after=ends)
        files = Files(self._folder / f"{file}.pem", self._folder / f"{file}.key")
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        files.cert.write_bytes(chain)
        files.key.write_bytes(issued.private_key_pem.bytes())
        return files
