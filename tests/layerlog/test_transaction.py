from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerlog.eventstore.errors import DuplicateName, ImageUnknown, InvalidRequest

if TYPE_CHECKING:
    from layerlog import Store


def test_several_changes_are_one_commit(store: Store) -> None:
    old = store.create_image(names=["app:1.3"])
    before = store.sequence
    with store.transaction(reason="release") as tx:
        layer = tx.create_layer(names=["base"])
        image = tx.create_image(layer, names=["new"])
        tx.tag(image, "app:1.4")
        tx.untag("app:1.3")
        tx.set_big_data("image", image, "k", b"v")
        tx.create_container(image, names=["box"])
        tx.delete_image(old)
        assert store.sequence == before, "nothing is visible before the end"
    assert store.sequence == before + 1
    assert (store.image("app:1.4").id, store.container("box").image, store.big_data("image", image, "k")) == (image, image, b"v")
    assert not store.exists(old.id)
    *_, last = store.history()
    assert last.reason == "release"


def test_an_exception_in_the_block_leaves_nothing(store: Store) -> None:
    before = store.sequence
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:  # noqa: PT012  the block is what is tested
        tx.create_layer()
        raise ZeroDivisionError
    assert (store.sequence, store.layers()) == (before, [])


def test_a_mistake_is_told_where_it_is_made_and_may_be_caught(store: Store) -> None:
    with store.transaction() as tx:
        tx.create_layer(names=["taken"])
        with pytest.raises(DuplicateName):
            tx.create_layer(names=["taken"])
        with pytest.raises(ImageUnknown):
            tx.untag("nobody")
    assert len(store.layers()) == 1


def test_creating_and_deleting_the_same_id_is_refused(store: Store) -> None:
    with pytest.raises(InvalidRequest), store.transaction() as tx:  # noqa: PT012  it is refused when the block ends
        layer = tx.create_layer()
        tx.delete_layer(layer)
    assert store.layers() == []


def test_an_empty_transaction_is_no_commit(store: Store) -> None:
    before = store.sequence
    with store.transaction():
        pass
    assert store.sequence == before


def test_a_step_decides_itself_and_not_all_steps_before_it_again(store: Store) -> None:
    """Otherwise a transaction of n steps costs n² decisions: 2,000 steps took minutes."""
    decided: list[int] = []

    def counted(number: int) -> None:
        original = tx._decisions[-1]

        def again(rows: object) -> list[object]:
            decided.append(number)
            return original(rows)  # type: ignore[arg-type]

        tx._decisions[-1] = again

    steps = 50
    with store.transaction() as tx:
        for number in range(steps):
            tx.create_layer(names=[f"layer{number}"])
            counted(number)
        assert decided == [], "what was decided once stands"
        store.create_image(names=["elsewhere"])
        with pytest.raises(DuplicateName):
            tx.create_image(names=["elsewhere"])
        assert decided == list(range(steps)), "the state moved: all of them once more"
    assert len(decided) <= 5 * steps, "and for the commit"
    assert len(store.layers()) == steps


def test_a_step_that_another_commit_made_impossible_is_told_at_the_next_step(store: Store) -> None:
    image = store.create_image(names=["mine"])
    with pytest.raises(ImageUnknown), store.transaction() as tx:  # noqa: PT012  the block is what is tested
        tx.tag(image.id, "one")
        store.delete_image(image.id)
        with pytest.raises(ImageUnknown):
            tx.create_layer()
    assert store.layers() == []
