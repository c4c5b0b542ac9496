"""What ends with a boot is ended once, by whoever opens the store first; whatever cannot end now lets the store open all the same."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerlog import Store, recovery
from tests.layerlog.test_sandbox import child

if TYPE_CHECKING:
    from tests.layerlog.conftest import OpenStore


def boot(store: Store) -> None:
    """As after one: nobody has settled what the boot before left."""
    Path(store.folder("settled")).write_text("0" * 32)


def killed_sandbox(store: Store) -> str:
    """The container of a sandbox whose holder is dead."""
    process = child("box = store.sandbox()\nprint(store.containers()[0].id, flush=True)\ntime.sleep(60)", store)
    assert process.stdout is not None
    found = process.stdout.readline().strip()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return found


def test_what_the_first_to_open_a_store_makes_is_not_ended_by_a_second_one_that_was_at_it_too(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store()
    boot(store)
    at_it, go_on, real = threading.Event(), threading.Event(), recovery._end_sandboxes

    def slowly(*given: object) -> object:
        if not at_it.is_set():
            at_it.set()
            assert go_on.wait(60)
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(recovery, "_end_sandboxes", slowly)
    made: list[str] = []
    slow = threading.Thread(target=lambda: open_store().close())
    quick = threading.Thread(target=lambda: made.append(open_store().create_container(volatile=True).id))
    slow.start()
    assert at_it.wait(60)
    quick.start()
    quick.join(0.5)  # alone it would be done by then, and what it made ended
    go_on.set()
    slow.join()
    quick.join()
    assert [one.id for one in store.containers()] == made


def test_a_pinned_volatile_container_stays_after_a_boot_and_the_store_opens(open_store: OpenStore) -> None:
    store = open_store()
    for name in ("pinned", "other"):
        store.create_container(id=name, volatile=True)
    store.pin("pinned", "keep", "container")
    boot(store)
    assert [one.id for one in open_store().containers()] == ["pinned"]
    store.unpin("pinned", "keep", "container")
    boot(store)
    assert open_store().containers() == []


def test_a_pinned_sandbox_of_a_dead_holder_stays_until_it_is_unpinned(open_store: OpenStore) -> None:
    store = open_store()
    box = killed_sandbox(store)
    store.pin(box, "keep", "container")
    assert [one.id for one in open_store().containers()] == [box]
    store.unpin(box, "keep", "container")
    assert open_store().containers() == []
    assert store.leases.files() == []


def test_a_sandbox_of_a_dead_holder_that_somebody_reads_stays_until_that_ends(open_store: OpenStore) -> None:
    store = open_store()
    box = killed_sandbox(store)
    with store.lease(store.container(box).layer, "commit", shared=True):
        assert [one.id for one in open_store().containers()] == [box]
    assert open_store().containers() == []
    assert store.leases.files() == []


def test_an_empty_layer_does_not_take_what_stands_under_its_id_for_its_contents(open_store: OpenStore) -> None:
    store = open_store()
    Path(store.driver.path("given")).mkdir()
    Path(store.driver.path("given"), "theirs").write_text("x")
    store.create_layer(id="given")
    assert list(store.changes("given")) == []
    lost = Path(store.driver.home, "lost+found", "given")
    assert [path.name for path in lost.iterdir()] == ["theirs"]
    shutil.rmtree(lost.parent)


def test_trash_of_the_same_id_that_nobody_here_threw_away_is_not_freed(open_store: OpenStore) -> None:
    """Beside an older copy of the journal, which somebody put back, it may be the only copy."""
    store = open_store()
    entry = f"9-{'a' * 64}"
    Path(store.driver.home, "trash", entry).mkdir(parents=True)
    Path(store.folder("leases", "a" * 64)).write_text('{"doing": "import-layer"}')
    assert open_store().driver.trash() == [entry]
    assert not os.path.exists(store.folder("leases", "a" * 64))
    store.driver.free(entry)


@pytest.mark.root
def test_a_copy_that_followed_short_names_opens_after_a_boot_and_its_layers_can_be_deleted(tmp_path: Path) -> None:
    """``cp -rL`` makes folders of them; what is in those goes to ``lost+found/``, since nobody can tell whose it is."""
    with Store(tmp_path / "root", driver="overlay") as store:
        layers = [store.create_layer() for _ in range(2)]
        for layer in layers:
            Path(store.mount(layer.id), "written").write_text("x")
            store.unmount(layer.id)
    short_names = sorted((tmp_path / "root" / "overlay" / "l").iterdir())
    for path in short_names:
        path.unlink()
        path.mkdir()
        (path / "written").write_text("x")
    with Store(tmp_path / "root") as store:
        store.delete_layer(layers[0].id)
        boot(store)
    with Store(tmp_path / "root") as store:
        assert Path(store.mount(layers[1].id), "written").read_text() == "x"
        store.unmount(layers[1].id)
        assert list(store.check()) == []
    lost = (tmp_path / "root" / "overlay" / "lost+found").iterdir()
    assert sorted(path.name for path in lost) == [f"l-{path.name}" for path in short_names]
