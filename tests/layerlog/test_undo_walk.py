"""A random walk of changes, undone step by step to empty, is at every step what was recorded on the way there.

Plain runs walk 300 changes; ``LAYERLOG_LONG=1`` walks 10,000. The seed is printed with a failure.
"""

from __future__ import annotations

import io
import os
import random
import tarfile
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from layerlog import Store
from layerlog.asking import applied, rows_by_id
from layerlog.decide.undoing import UndoConflict
from layerlog.eventstore.errors import Conflict, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from layerlog.records import Record
    from layerlog.view import View

LONG = os.environ.get("LAYERLOG_LONG") == "1"
STEPS = int(os.environ.get("LAYERLOG_STEPS", "10000" if LONG else "200"))
MANY = 120
"""From so many things on, deletions outweigh the rest: a store of thousands would only make the walk slow."""
SEED = int(os.environ.get("LAYERLOG_SEED", "20261124"))
NAMES = [f"name-{number}" for number in range(12)]


def tar_of(chance: random.Random) -> io.BytesIO:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        member = tarfile.TarInfo(f"file-{chance.randrange(10)}")
        data = chance.randbytes(chance.randrange(200))
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    target.seek(0)
    return target


class Walk:
    """Random changes of one store; each is one commit, or refused and none."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store, self.chance = store, random.Random(seed)
        self.changes: list[tuple[int, Callable[[], object]]] = [
            (3, self.create_layer),
            (3, self.import_layer),
            (3, self.create_image),
            (2, self.create_container),
            (6, self.rename),
            (4, self.set_metadata),
            (4, self.set_big_data),
            (1, self.remove_big_data),
            (2, self.pin),
            (4, self.delete),
            (2, self.restore),
            (1, self.several),
        ]

    def step(self) -> None:
        """One change that was not refused."""
        before = self.store.sequence
        while self.store.sequence == before:
            change = self.chance.choices([one for _, one in self.changes], [weight for weight, _ in self.changes])[0]
            if self.chance.random() < 0.6 and len(rows_by_id(self.store)) > MANY:
                change = self.delete
            try:
                change()
            except (Conflict, LookupError, StoreError):
                continue

    def any(self, *kinds: str) -> Any:
        lists: dict[str, Callable[[], Sequence[Record]]] = {
            "layer": self.store.layers,
            "image": self.store.images,
            "container": self.store.containers,
        }
        return self.chance.choice([one for kind in kinds or lists for one in lists[kind]()])

    def names(self) -> list[str]:
        return self.chance.sample(NAMES, self.chance.randrange(3))

    def create_layer(self) -> None:
        parent = self.any("layer").id if self.chance.random() < 0.5 else ""
        self.store.create_layer(parent, names=self.names())

    def import_layer(self) -> None:
        self.store.import_layer(tar_of(self.chance), names=self.names())

    def create_image(self) -> None:
        self.store.create_image(self.any("layer").id, names=self.names())

    def create_container(self) -> None:
        self.store.create_container(self.any("image").id, names=self.names())

    def rename(self) -> None:
        edit = self.chance.choice([self.store.set_names, self.store.add_names, self.store.remove_names])
        one = self.any()
        edit(one.id, self.names(), one.kind)

    def set_metadata(self) -> None:
        one = self.any()
        self.store.set_metadata(one.id, self.chance.randbytes(4).hex(), one.kind)

    def set_big_data(self) -> None:
        one = self.any("image", "container")
        self.store.set_big_data(one.kind, one.id, self.chance.choice(["manifest", "a", "b"]), self.chance.randbytes(20))

    def remove_big_data(self) -> None:
        one = self.any("image", "container")
        self.store.remove_big_data(one.kind, one.id, self.chance.choice(list(one.big_data)))

    def pin(self) -> None:
        one = self.any()
        change = self.store.unpin if one.pins else self.store.pin
        change(one.id, kind=one.kind)

    def delete(self) -> None:
        one = self.any()
        deletions: dict[str, Callable[[str], object]] = {
            "layer": self.store.delete_layer,
            "image": self.store.delete_image,
            "container": self.store.delete_container,
        }
        deletions[one.kind](one.id)

    def restore(self) -> None:
        one = self.chance.choice(self.store.trash())
        self.store.restore(one.id, one.kind)

    def several(self) -> None:
        with self.store.transaction() as tx:
            layer = tx.create_layer(names=[])
            image = tx.create_image(layer, names=self.names())
            tx.set_metadata(image, "together", "image")


def shown(view: View) -> dict[tuple[str, str], Any]:
    """Everything of a state but bookkeeping: which commit touched a row last, and every name that an image ever had."""
    hidden = ("changed", "names_history", "digest")
    return {key: {field: value for field, value in row.items() if field not in hidden} for key, row in rows_by_id(view).items()}


def digest_of(state: dict[Any, Any]) -> str:
    """A short form of a state, so that ten thousand can be kept. A data item that comes back stands behind the others."""
    ordered = {key: sorted(row.items(), key=str) if isinstance(row, dict) else row for key, row in state.items()}
    return sha256(repr(sorted(ordered.items())).encode()).hexdigest()


def contents(store: Store) -> dict[str, str]:
    """Digest of each unopened layer's diff, as it is given back now."""
    return {one.id: sha256(b"".join(store.diff(one.id, compression=0))).hexdigest() for one in store.layers() if one.contents}


def big_data(store: Store) -> dict[tuple[str, str, str], bytes]:
    return {
        (one.kind, one.id, key): store.big_data(one.kind, one.id, key)
        for one in (*store.images(), *store.containers())
        for key in one.big_data
    }


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store(tmp_path / "root", tmp_path / "run", "vfs", options=["sync=none"]) as opened:
        yield opened


def test_a_walk_undone_step_by_step_is_what_was_recorded_at_every_step(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layerlog.eventstore.checkpoints.KEPT_LEVEL", -1)  # all runs stay: ten thousand past states are looked at
    walk = Walk(store, SEED)
    recorded = [(store.sequence, digest_of(shown(store)), digest_of(big_data(store)))]
    digests: dict[str, str] = {}
    for _ in range(STEPS):
        walk.step()
        recorded.append((store.sequence, digest_of(shown(store)), digest_of(big_data(store))))
    for one in store.layers():
        if one.contents:
            assert sha256(b"".join(store.diff(one.id, compression=0))).hexdigest() == one.contents.diff_digest.partition(":")[2]
    digests = contents(store)
    for (sequence, _, _), (_, rows, items) in zip(recorded[:0:-1], recorded[-2::-1], strict=True):
        done = store.undo(sequence)
        if digest_of(shown(store)) != rows:
            assert shown(store) == shown(store.at(sequence - 1)), (
                f"seed {SEED}: after undoing commit {sequence} (as commit {done.sequence})"
            )
        assert digest_of(big_data(store)) == items, f"seed {SEED}: after undoing commit {sequence}"
        if sequence % max(STEPS // 20, 1) == 0:
            now = contents(store)
            assert all(now[layer_id] == digests.setdefault(layer_id, digest) for layer_id, digest in now.items()), f"seed {SEED}"
    assert not rows_by_id(store)
    assert not [one for one in store.verify() if one.grade != "cosmetic"]


def test_a_walk_undone_at_once_is_what_was_before_it(store: Store) -> None:
    """Undoing many commits as one never deletes and brings back the same thing."""
    for seed in range(3 if not LONG else 50):
        walk = Walk(store, SEED + seed)
        for _ in range(15):
            walk.step()
        before, sequence = shown(store), store.sequence
        for _ in range(25):
            walk.step()
        store.undo(last=25)
        assert shown(store) == before, f"seed {SEED + seed}, on commit {sequence}"


def test_an_undo_undone_is_where_one_was(store: Store) -> None:
    walk = Walk(store, SEED)
    for _ in range(60):
        walk.step()
        before, last = shown(store), store.sequence
        undone = store.undo(last)
        if undone.events:
            store.undo(undone.sequence)
        assert shown(store) == before, f"seed {SEED}, commit {last}"


def test_the_state_at_any_sequence_is_that_of_a_store_stopped_there(tmp_path: Path, store: Store) -> None:
    """The second store is the replay of a bundle made at that point: it never saw what came later."""
    from layerlog.bundling import replay

    walk = Walk(store, SEED)
    stops: dict[int, dict[tuple[str, str], Any]] = {}
    for number in range(STEPS // 2):
        walk.step()
        if number % (STEPS // 12) == 0:
            store.bundle(tmp_path / f"{store.sequence}.tar")
        stops[store.sequence] = rows_by_id(store)
    for sequence, rows in stops.items():
        assert rows_by_id(store.at(sequence)) == rows
        if (tmp_path / f"{sequence}.tar").exists():
            with replay(tmp_path / f"{sequence}.tar", tmp_path / f"stopped-{sequence}") as stopped:
                assert rows_by_id(stopped) == rows


def test_differences_of_any_two_states_applied_to_one_give_the_other(store: Store) -> None:
    walk = Walk(store, SEED)
    for _ in range(STEPS // 2):
        walk.step()
    chance = random.Random(SEED)
    for _ in range(30):
        older, newer = chance.randrange(store.sequence + 1), chance.randrange(store.sequence + 1)
        found = store.diff_state(older, newer)
        assert applied(rows_by_id(store.at(older)), found) == rows_by_id(store.at(newer)), f"seed {SEED}: {older}, {newer}"


class Reborn(Walk):
    """A walk in which few IDs are given again and again, to things with other contents; sometimes nobody asks who needs what goes."""

    def __init__(self, store: Store, seed: int) -> None:
        super().__init__(store, seed)
        self.changes += [(6, self.delete), (2, self.delete_unsafely), (1, self.wipe), (2, self.restore)]

    def id(self) -> str:
        return self.chance.choice("abcd")

    def create_layer(self) -> None:
        parent = self.any("layer").id if self.chance.random() < 0.7 and self.store.layers() else ""
        self.store.create_layer(parent, id=self.id(), names=self.names())

    def import_layer(self) -> None:
        parent = self.any("layer").id if self.chance.random() < 0.7 and self.store.layers() else ""
        self.store.import_layer(tar_of(self.chance), parent, id=self.id(), names=self.names())

    def create_image(self) -> None:
        self.store.create_image(self.any("layer").id, id=self.id(), names=self.names())

    def create_container(self) -> None:
        self.store.create_container(self.any("image").id, id=self.id(), names=self.names())

    def delete_unsafely(self) -> None:
        self.store.delete(self.any().id)

    def wipe(self) -> None:
        self.store.wipe()


@pytest.mark.parametrize("seed", range(200 if LONG else 6))
def test_a_walk_over_few_ids_undone_step_by_step_is_what_was_recorded_at_every_step(store: Store, seed: int) -> None:
    walk = Reborn(store, SEED + seed)
    recorded = [(store.sequence, shown(store), contents(store))]
    for _ in range(40):
        walk.step()
        recorded.append((store.sequence, shown(store), contents(store)))
    for (sequence, _, _), (_, rows, digests) in zip(recorded[:0:-1], recorded[-2::-1], strict=True):
        store.undo(sequence)
        assert shown(store) == rows, f"seed {SEED + seed}: after undoing commit {sequence}"
        assert contents(store) == digests, f"seed {SEED + seed}: after undoing commit {sequence}"


@pytest.mark.parametrize("seed", range(100 if LONG else 4))
def test_a_walk_over_few_ids_undone_at_once_is_what_was_before_it_or_refused(store: Store, seed: int) -> None:
    walk = Reborn(store, SEED + seed)
    for _ in range(10):
        walk.step()
    for _ in range(8):
        before, digests = shown(store), contents(store)
        for _ in range(5):
            walk.step()
        after, last = shown(store), store.sequence
        try:
            undone = store.undo(last=5)
        except UndoConflict:
            assert (shown(store), store.sequence) == (after, last)
            continue
        assert (shown(store), contents(store)) == (before, digests), f"seed {SEED + seed}, on commit {last}"
        if undone.events:
            store.undo(undone.sequence)
            assert shown(store) == after, f"seed {SEED + seed}, on commit {last}"


class Together(Reborn):
    """A walk of transactions of several random changes each, over few IDs."""

    def __init__(self, store: Store, seed: int) -> None:
        super().__init__(store, seed)
        self.changes.append((14, self.several))

    def several(self) -> None:
        with self.store.transaction() as tx:
            for _ in range(self.chance.randrange(1, 6)):
                with suppress(LookupError, StoreError):
                    self.one_of(tx)

    def one_of(self, tx: Any) -> None:
        """One change within a transaction."""
        which = self.chance.randrange(8)
        if which == 0:
            tx.create_layer(self.any("layer").id, id=self.id(), names=self.names())
        elif which == 1:
            tx.create_image(self.any("layer").id, id=self.id(), names=self.names())
        elif which == 2:
            tx.create_container(self.any("image").id, id=self.id(), names=self.names())
        elif which < 5:
            one = self.any()
            self.chance.choice([tx.set_names, tx.add_names])(one.id, self.names(), one.kind)
        elif which == 5:
            one = self.any()
            tx.set_metadata(one.id, self.chance.randbytes(2).hex(), one.kind)
        elif which == 6:
            one = self.any("image", "container")
            tx.set_big_data(one.kind, one.id, self.chance.choice("kl"), self.chance.randbytes(4))
        else:
            one = self.any()
            getattr(tx, f"delete_{one.kind}")(one.id)


@pytest.mark.parametrize("seed", range(100 if LONG else 4))
def test_transactions_undone_at_once_and_that_undone_are_undone_step_by_step(store: Store, seed: int) -> None:
    """What lies in the trash after an undo of an undo is what lay there before, or a later undo would bring back something else."""
    walk = Together(store, SEED + seed)
    recorded: list[tuple[int, dict[Any, Any], dict[str, str]]] = []

    def steps(number: int) -> None:
        for _ in range(number):
            before, digests = shown(store), contents(store)
            walk.step()
            recorded.append((store.sequence, before, digests))

    steps(20)
    for _ in range(3):
        before = shown(store)
        steps(4)
        after = shown(store)
        with suppress(UndoConflict):
            undone = store.undo(last=4)
            assert shown(store) == before, f"seed {SEED + seed}"
            if undone.events:
                store.undo(undone.sequence)
        assert shown(store) == after, f"seed {SEED + seed}"
    for sequence, rows, digests in reversed(recorded):
        store.undo(sequence)
        assert (shown(store), contents(store)) == (rows, digests), f"seed {SEED + seed}: after undoing commit {sequence}"
