"""Both front doors on a vfs store of the test's own, in this process: quick, and a traceback when something breaks."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from layerlog.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


class Result:
    """What a command left: exit status, stdout, stderr."""

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code, self.raw = code, out
        self.out = out.decode("utf-8", "surrogateescape")
        self.err = err.decode("utf-8", "surrogateescape")

    def __repr__(self) -> str:
        return f"Result({self.code}, out={self.out!r}, err={self.err!r})"


Door = Callable[..., Result]


class FrontDoor:
    """One front door. ``door("layers", "-j", stdin=b"")``; ``where`` are the flags that find the store."""

    def __init__(self, program: list[str], where: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.program, self.where, self._monkeypatch = program, where, monkeypatch

    def __call__(self, *words: str, stdin: bytes = b"", where: list[str] | None = None) -> Result:
        out, err = _stream(), _stream()
        argv = [*self.program, *(self.where if where is None else where), *words]
        with self._monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8", errors="surrogateescape"))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            code = main(argv)
        out.flush()
        err.flush()
        return Result(code, out.buffer.getvalue(), err.buffer.getvalue())  # type: ignore[attr-defined]


def _stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict", newline="\n", write_through=True)


@pytest.fixture(autouse=True)
def no_layerlog_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of ours, and a home of the test's own."""
    for name in list(os.environ):
        if name.startswith("LAYERLOG_") and name != "LAYERLOG_TEST_IMAGES":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if os.geteuid():  # the compat door would start itself again in a user namespace, where these streams are not
        monkeypatch.setenv("_CONTAINERS_USERNS_CONFIGURED", "done")


@pytest.fixture
def where(tmp_path: Path) -> list[str]:
    """Flags of the test's store."""
    return ["--graph", str(tmp_path / "graph"), "--run", str(tmp_path / "run"), "-s", "vfs"]


@pytest.fixture
def cs(where: list[str], monkeypatch: pytest.MonkeyPatch) -> Door:
    """The compat door."""
    return FrontDoor(["containers-storage"], where, monkeypatch)


@pytest.fixture
def ll(where: list[str], monkeypatch: pytest.MonkeyPatch) -> Door:
    """The friendly door, on the same store."""
    return FrontDoor(["layerlog"], where, monkeypatch)


@pytest.fixture
def archive() -> bytes:
    """A small tar: ``d/``, ``d/f`` and ``g``."""
    return make_tar({"d": None, "d/f": b"hi\n", "g": b"x" * 5000})


def make_tar(members: dict[str, bytes | None]) -> bytes:
    """A tar of files, and folders where the content is None."""
    import tarfile

    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.mtime = 1_000_000_000
            if content is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return target.getvalue()
