from __future__ import annotations

import gc
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerlog import sandbox
from layerlog.eventstore.errors import InvalidImage, LayerUnknown
from layerlog.sandbox import remove_sandbox
from tests.layerlog.builders import Layout, tar

if TYPE_CHECKING:
    from layerlog import Store
    from tests.layerlog.conftest import OpenStore

ROOT = Path(__file__).resolve().parents[2]


def child(program: str, store: Store) -> subprocess.Popen[str]:
    """Another process with a store on the same root; each line it prints is a step."""
    text = f"import os, sys, time\nfrom layerlog import Store\nstore = Store({store.root!r}, {store.run_root!r}, 'vfs')\n"
    return subprocess.Popen(
        [sys.executable, "-c", text + textwrap.dedent(program)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_sandbox_is_gone_when_its_block_ends(store: Store) -> None:
    base = store.create_layer()
    with store.sandbox(base) as box:
        Path(box.root, "made").write_text("x")
        assert [(change.kind, change.path) for change in box.changes()] == [(1, b"/made")]
        image = box.commit(name="app:tested")
    assert (store.containers(), store.mounts(), len(store.trash())) == ([], [], 0)
    assert store.image("app:tested").id == image.id


def test_a_sandbox_is_gone_after_its_process_was_killed(open_store: OpenStore) -> None:
    store = open_store()
    process = child("box = store.sandbox()\nprint(box.root, flush=True)\ntime.sleep(60)", store)
    assert process.stdout is not None
    root = process.stdout.readline().strip()
    assert os.path.isdir(root)
    assert len(store.containers()) == 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    again = open_store()
    assert (again.containers(), again.layers(), os.path.exists(root)) == ([], [], False)


def test_a_sandbox_of_which_only_the_path_is_kept_lives_as_long_as_its_process(open_store: OpenStore) -> None:
    store = open_store()
    container = (box := store.sandbox(store.create_layer())).container.id
    Path(root := box.root, "written").write_text("by a program")
    del box
    gc.collect()
    assert open_store().recovered == []
    assert Path(root, "written").read_text() == "by a program"
    assert store.exists(container)
    remove_sandbox(store, container)
    for lease in list(sandbox._open):
        lease.release()


def test_an_exception_ends_a_sandbox_too(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.sandbox():
        raise ZeroDivisionError
    assert store.containers() == []


def test_two_processes_build_a_layer_for_one_key_once(store: Store) -> None:
    program = """
    def build(root):
        print("building", flush=True)
        time.sleep(0.3)
        open(os.path.join(root, "made"), "w").write("x")
    print(store.layer_for(key="lock", build=build).id, flush=True)
    store.close()
    """
    processes = [child(program, store) for _ in range(3)]
    lines = [process.communicate(timeout=60)[0].split() for process in processes]
    assert sum("building" in one for one in lines) == 1
    assert {one[-1] for one in lines} == {store.layer_for(key="lock").id}
    assert len(store.layers()) == 1


def test_threads_build_a_layer_for_one_key_once(store: Store) -> None:
    built: list[str] = []
    found: list[str] = []

    def build(root: str) -> None:
        built.append(root)
        Path(root, "made").touch()

    threads = [threading.Thread(target=lambda: found.append(store.layer_for("k", build=build).id)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(built), len(set(found)), len(found)) == (1, 1, 4)


def test_a_build_that_raises_leaves_nothing_and_the_next_one_tries(store: Store) -> None:
    def fail(root: str) -> None:
        Path(root, "half").touch()
        raise RuntimeError("no network")

    with pytest.raises(RuntimeError):
        store.layer_for("k", build=fail)
    assert (store.layers(), store.containers()) == ([], [])
    with pytest.raises(LayerUnknown):
        store.layer_for("k")
    assert store.layer_for("k", build=lambda root: None).id == store.layer_for("k").id


def test_a_snapshot_stays_as_it_was(store: Store, tmp_path: Path) -> None:
    store.load(Layout().write(tmp_path / "layout"))
    with store.sandbox("built:1") as box:
        Path(box.root, "state").write_text("one")
        saved = box.snapshot(name="saved")
        Path(box.root, "state").write_text("another")
    with store.sandbox(saved) as again:
        assert Path(again.root, "state").read_text() == "one"
        assert Path(again.root, "etc/motd").read_text() == "good bye\n"
    assert store.layer("saved").parent == store.image("built:1").layer


def test_a_container_can_be_committed_twice(store: Store, tmp_path: Path) -> None:
    base = store.load(Layout().write(tmp_path / "layout"))
    container = store.create_container(base.id)
    root = Path(store.mount(container.id))
    (root / "one").write_text("1")
    first = store.commit_container(container.id, name="c:1", message="first")
    (root / "two").write_text("2")
    second = store.commit_container(container.id, name="c:2")
    again = store.commit_container(container.id, ["c:3"])
    assert (len({first.id, second.id}), again.layer == second.layer) == (2, True), "equal contents are stored once"
    assert store.layer(second.layer).parent == base.layer
    for image, names in ((first, {"one"}), (second, {"one", "two"})):
        assert names == set(os.listdir(store.mount(image.id, read_only=True))) - {"bin", "etc", "new"}
        store.unmount(image.id)
    store.unmount(container.id)


@pytest.mark.parametrize(
    "manifest", [b"hello", b"{}", b"[1]", b'{"config": null}', b'{"config": {"digest": "sha256:' + b"0" * 64 + b'"}}', b'{"layers": []}']
)
def test_an_image_with_a_manifest_made_by_hand_is_committed_upon_from_what_its_layers_say(store: Store, manifest: bytes) -> None:
    """No manifest of a loaded image: without a config, or with one that is not stored."""
    store.import_layer(io.BytesIO(tar({"a": b"1"})), id="below")
    store.create_image("below", names=["by-hand"], big_data={"manifest": manifest})
    container = store.create_container("by-hand")
    image = store.commit_container(container.id, name="made")
    document = json.loads(store.big_data("image", image.id, "manifest"))
    config = json.loads(store.big_data("image", image.id, document["config"]["digest"]))
    assert len(document["layers"]) == len(config["rootfs"]["diff_ids"]) == 2
    assert config["rootfs"]["diff_ids"][0] == store.layer("below").row["contents"]["diff_digest"]


def test_an_image_whose_manifest_and_config_contradict_each_other_is_not_committed_upon(store: Store) -> None:
    config = b'{"rootfs": {"type": "layers", "diff_ids": ["sha256:' + b"1" * 64 + b'"]}}'
    digest = "sha256:" + hashlib.sha256(config).hexdigest()
    manifest = json.dumps({"config": {"digest": digest, "size": len(config)}, "layers": []}).encode()
    store.create_image(names=["odd"], big_data={"manifest": manifest, digest: config})
    container = store.create_container("odd")
    before = store.sequence
    with pytest.raises(InvalidImage, match="0 layers, but its config has 1 diff_ids"):
        store.commit_container(container.id, name="made")
    assert (store.sequence, store.exists("made")) == (before, False)
