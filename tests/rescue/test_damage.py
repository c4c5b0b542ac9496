"""From one healthy store, every kind of damage: whoever follows what each command says to run next ends with a clean store.

What the remaining bytes allow is back, whatever is not back was told by name, and nothing lies about that no record claims.
``LAYERLOG_CRASH=long`` takes every pair of damages; otherwise a sample of them.
"""

from __future__ import annotations

import gc
import hashlib
import itertools
import json
import os
import random
import shlex
import shutil
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerlog import Store
from layerlog.cli.main import main
from tests.layerlog.litter import left_behind
from tests.rescue import world
from tests.seeds import seed_of

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = os.environ.get("LAYERLOG_CRASH") == "long"
DRIVERS = ("vfs", "overlay") if os.geteuid() == 0 else ("vfs",)
PAIRS = int(os.environ.get("LAYERLOG_RESCUE_PAIRS", "8"))
STEPS_MAX = 14
UNTELLABLE = [
    {position, last}
    for position in (world.position, world.position_a_pipe)
    for last in (world.last_segment_gone, world.last_segment_a_folder)
]
"""Pairs after which nothing is left that knows of the last commits: docs/recovery.md says so."""


@pytest.fixture(scope="module", params=DRIVERS)
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder with the healthy store, and its driver."""
    folder = tmp_path_factory.mktemp("healthy")
    world.make(folder, request.param)
    yield folder, request.param
    shutil.rmtree(folder)


def follow(root: Path, sources: list[Path], capsys: pytest.CaptureFixture[str]) -> str:
    """Run ``recover``, then whatever each command says to run next, until check finds nothing; all that was said."""
    talk: list[str] = []
    command = "recover"
    for _ in range(STEPS_MAX):
        words = shlex.split(command)
        status = main(["layerlog", "--graph", str(root), *words])
        said = capsys.readouterr()
        talk.append(f"$ layerlog {command} -> {status}\n{said.out}{said.err}")
        if words == ["check"] and "nothing is wrong" in said.out:
            return "\n".join(talk)
        command = following(words, said.out + said.err, sources)
    raise AssertionError("it never ends:\n" + "\n".join(talk))


def following(words: list[str], said: str, sources: list[Path]) -> str:
    """The first command that the talk names."""
    found = [line.strip().removeprefix("next: ") for line in said.splitlines() if line.strip().startswith("next: ")]
    found += [line.strip().removeprefix("hint: ").partition(" ad")[0] for line in said.splitlines() if line.strip().startswith("hint: ")]
    if not found:
        assert words[0] in ("gc", "check", "delete-layer"), f"no next command after {words}: {said}"
        return "check"
    command = found[0].removeprefix("layerlog ")
    if command.startswith("repair") and "--yes" not in command:
        return ("repair --give-up" if "--give-up" in command else "repair") + "".join(f" --from {one}" for one in sources)
    return command


def state(root: Path) -> dict[tuple[str, str], Any]:
    """What the store shows of each thing, contents included."""
    found: dict[tuple[str, str], Any] = {}
    with Store(root) as store:
        for layer in store.layers():
            given = b"".join(store.diff(layer.id, compression=0))
            contents = layer.contents.diff_digest if layer.contents else ""
            if contents:
                assert contents == f"sha256:{hashlib.sha256(given).hexdigest()}"
            found["layer", layer.id] = (layer.names, layer.parent, contents)
        for image in store.images():
            items = {key: store.big_data("image", image.id, key) for key in image.big_data}
            found["image", image.id] = (sorted(image.names), image.layer, image.metadata, items)
        for box in store.containers():
            written = Path(store.mount(box.id), "written").read_text()
            store.unmount(box.id)
            found["container", box.id] = (box.names, box.layer, box.image, written)
        assert left_behind(store) == []
        assert store.recovered == []
    return found


def judge(broken: Path, healthy: dict[tuple[str, str], Any], talk: str) -> list[str]:
    """What differs from the healthy store and was not told."""
    now = state(broken)
    differing = [key for key in {*healthy, *now} if healthy.get(key) != now.get(key)]
    all_told = "lost: commit" in talk or "the records themselves are lost" in talk
    untold = [key for key in differing if key[1] not in talk and not all_told]
    return [f"{kind} {item_id}: {healthy.get((kind, item_id))} became {now.get((kind, item_id))}" for kind, item_id in untold]


def run(
    prepared: tuple[Path, str],
    folder: Path,
    damages: tuple[world.Damage, ...],
    capsys: pytest.CaptureFixture[str],
    offered: bool,
    told: bool = True,
) -> str:
    """Break a copy, follow the commands, judge; all that was said. *told*: everything that is not back must have been."""
    healthy_folder, driver = prepared
    healthy = state(healthy_folder / "store")
    world.copy(healthy_folder / "store", folder / "store")
    broken = world.Broken(folder, driver)
    for damage in damages:
        try:
            damage(broken)
        except (FileNotFoundError, IsADirectoryError, AssertionError, IndexError):
            continue  # the damage before took it with it
    sources = [healthy_folder / "oci", healthy_folder / "other"] if offered else []
    talk = follow(folder / "store", sources, capsys)
    faults = judge(folder / "store", healthy, talk)
    assert not (faults and told), "\n".join([*faults, talk])
    return talk


NAMES = [damage.__name__ for damage in world.kinds("overlay")]


@pytest.mark.parametrize("name", NAMES)
def test_each_kind_of_damage(prepared: tuple[Path, str], tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    damage = getattr(world, name)
    if damage not in world.kinds(prepared[1]):
        return
    run(prepared, tmp_path, (damage,), capsys, offered=True)


@pytest.mark.parametrize("first", [world.last_segment_gone, world.last_segment_a_folder, world.load_record])
def test_a_journal_that_no_header_names_is_known_by_what_lies_beside_it(
    prepared: tuple[Path, str], tmp_path: Path, first: world.Damage, capsys: pytest.CaptureFixture[str]
) -> None:
    """Position and checkpoints count, although frames carry half of the journal's ID only."""
    talk = run(prepared, tmp_path, (first, world.every_segment_header), capsys, offered=False)
    assert "lost: commit" in talk
    if first is world.load_record:
        assert state(tmp_path / "store") == state(prepared[0] / "store")


@pytest.mark.parametrize("damage", [world.load_record, world.container_record, world.delete_record, world.record_header])
def test_what_only_a_checkpoint_knows_is_still_there_after_recover(
    prepared: tuple[Path, str], tmp_path: Path, damage: world.Damage, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing that is told to run first may take away what the salvage needs."""
    healthy = state(prepared[0] / "store")
    world.copy(prepared[0] / "store", tmp_path / "store")
    damage(world.Broken(tmp_path, prepared[1]))
    for command in ("recover", "check", "verify", "gc", "recover"):
        main(["layerlog", "--graph", str(tmp_path / "store"), command])
    assert "layerlog journal salvage" in follow(tmp_path / "store", [], capsys)
    assert state(tmp_path / "store") == healthy


@pytest.mark.timeout(0 if LONG else 900)
def test_pairs_of_damages(prepared: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In an order that the seed gives, so that part of a long run is a sample of the whole."""
    pairs = list(itertools.permutations(world.kinds(prepared[1]), 2))
    seed = seed_of("LAYERLOG_RESCUE_SEED")
    random.Random(seed).shuffle(pairs)
    faults = []
    for number, pair in enumerate(pairs if LONG else pairs[:PAIRS]):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            run(prepared, folder, pair, capsys, offered=number % 2 == 0, told=set(pair) not in UNTELLABLE)
        except Exception:  # noqa: BLE001 - each pair is tried, and all that failed are told
            faults.append(f"{[damage.__name__ for damage in pair]}: {traceback.format_exc()[-3000:]}")
            with capsys.disabled():
                sys.stderr.write(f"{prepared[1]}, pair {number}, {faults[-1]}\n" if LONG else "")
        shutil.rmtree(folder)
        if LONG and number % 100 == 99:
            with capsys.disabled():
                sys.stderr.write(f"{prepared[1]}: {number + 1} of {len(pairs)} pairs, {len(faults)} faults (seed {seed})\n")
    assert not faults, "\n".join([f"{len(faults)} pairs, seed {seed}", *faults[:5]])


def test_a_journal_that_was_compacted_and_then_damaged_is_salvaged(
    prepared: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.copy(prepared[0] / "store", tmp_path / "store")
    with Store(tmp_path / "store", retention=0) as store:
        store.empty_trash()
        image = next(one for one in store.images() if "built:latest" in one.names)
        for number in range(70):
            store.set_metadata(image.id, f"before {number}")
        assert store.compact(before=store.sequence).through > 0
        store.set_metadata(image.id, "after it")
        store.set_metadata(image.id, "at last")
    healthy = state(tmp_path / "store")
    broken = world.Broken(tmp_path, prepared[1], thrown=False)
    path, at = world.frame(broken, b'"metadata":"after it', payload=True)
    world.garble(path, at, 15)
    talk = follow(tmp_path / "store", [], capsys)
    assert not judge(tmp_path / "store", healthy, talk)
    assert state(tmp_path / "store") == healthy, "what was lost in between was overwritten since"


def test_a_salvage_leaves_no_file_open(prepared: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def salvage(name: str) -> None:
        (tmp_path / name).mkdir()
        world.copy(prepared[0] / "store", tmp_path / name / "store")
        world.load_record(world.Broken(tmp_path / name, prepared[1]))
        follow(tmp_path / name / "store", [], capsys)
        gc.collect()

    salvage("warm")
    before = len(os.listdir("/proc/self/fd"))
    salvage("again")
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_plan_changes_nothing(prepared: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world.copy(prepared[0] / "store", tmp_path / "store")
    broken = world.Broken(tmp_path, prepared[1])
    world.load_record(broken)
    before = listing(tmp_path)
    for words in (["journal", "salvage"], ["journal", "verify"], ["journal", "salvage", "--json"]):
        main(["layerlog", "--graph", str(broken.root), *words])
    shown = capsys.readouterr().out
    assert listing(tmp_path) == before
    assert json.loads(shown.splitlines()[-1])["done"] is False


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()}
