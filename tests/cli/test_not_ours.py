"""What this user may not remove or read, at the command line: said in a line, and nothing sound is taken away."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from layerlog.drivers import durable, resolve

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.cli.conftest import Door


def test_a_delete_whose_files_stay_is_a_delete_and_says_so(
    ll: Door, archive: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a.tar").write_bytes(archive)
    ll("create-layer", "-i", "one")
    assert ll("applydiff", "one", "-f", str(tmp_path / "a.tar")).code == 0
    with monkeypatch.context() as patch:

        def refuse(path: str) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted", path)

        patch.setattr(durable, "remove_tree", refuse)
        deleted = ll("--retention", "0", "delete-layer", "one")
        assert (deleted.code, deleted.err.count("\n")) == (0, 1)
        assert deleted.err.startswith("layer one is deleted, but ")
        listed = ll("layers")
        assert (listed.code, listed.out, listed.err) == (0, "", "")
    assert ll("check").out == "nothing is wrong\n"


def test_check_r_removes_nothing_of_which_it_knows_nothing(
    cs: Door, ll: Door, archive: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a.tar").write_bytes(archive)
    cs("import-layer", "-i", "one", "-f", str(tmp_path / "a.tar"))
    cs("create-image", "-i", "img", "one")
    with monkeypatch.context() as patch:

        def closed(self: resolve.Opener, name: bytes, *more: int) -> int:
            raise PermissionError(errno.EACCES, "Permission denied")

        patch.setattr(resolve.Opener, "open", closed)
        for words in (("check", "-r"), ("check", "-r", "-f")):
            refused = cs(*words)
            assert refused.code == 1
            assert "may be sound; nothing was removed" in refused.err
        assert "content" not in ll("check").out.replace("contents", "")
    assert (ll("check").out, cs("exists", "-i", "img").code) == ("nothing is wrong\n", 0)
