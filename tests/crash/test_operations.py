"""No public operation is left out: each method that may change something is called by a line of ``operations.py``."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerlog import Store
from layerlog.core import Core
from layerlog.sandbox import Sandbox
from layerlog.transaction import Transaction
from tests.crash import children, operations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.crash.laboratory import Bench

pytestmark = pytest.mark.crash
READS = frozenset(
    "Sandbox.changes Store.at Store.before_close Store.begins Store.blame Store.bundle Store.chain_sizes Store.changes "
    "Store.check Store.close Store.commit_at Store.container_by_layer Store.container_size Store.diff_size Store.diff_state "
    "Store.follow Store.from_container_directory Store.from_container_run_directory Store.growth Store.head Store.history "
    "Store.image_size Store.images_by_top_layer Store.layer_size Store.layers_by_compressed_digest "
    "Store.layers_by_toc_digest Store.layers_by_uncompressed_digest Store.lists Store.lookup Store.mount_count "
    "Store.mounted Store.on_commit Store.parent_owners Store.plan_compaction Store.plan_prune Store.plan_redaction Store.plan_undo "
    "Store.save Store.sequence_at Store.status Store.trash Store.verify Store.version Store.who Store.why_gone".split()
)
"""Methods that change nothing in the store (``save`` and ``bundle`` write elsewhere, ``close`` ends every scenario)."""

ELSEWHERE = {"Store.compact": "test_compaction.py"}
"""Methods with a crash test of their own, because their state cannot be compared commit by commit."""


def public() -> Iterator[tuple[type, str]]:
    """Every public method, and the class that has it: of Store what it adds to the shell below it."""
    for kind, bases in (
        (Store, [one for one in Store.__mro__ if issubclass(one, Core) and one is not Core]),
        (Transaction, [Transaction]),
        (Sandbox, [Sandbox]),
    ):
        for base in bases:
            for name, value in vars(base).items():
                if not name.startswith("_") and inspect.isfunction(value):
                    yield base, f"{kind.__name__}.{name}"


def watch(called: set[str]) -> None:
    """Note who is called by a scenario itself, not from inside another method. For a child that ends soon."""
    depth = [0]
    for base, called_as in list(public()):
        name = called_as.partition(".")[2]
        setattr(base, name, noted(called, called_as, vars(base)[name], depth))


def noted(called: set[str], called_as: str, real: Callable[..., Any], depth: list[int]) -> Callable[..., Any]:
    @functools.wraps(real)
    def method(*args: Any, **kwargs: Any) -> Any:
        if not depth[0]:
            called.add(called_as)
        depth[0] += 1
        try:
            return real(*args, **kwargs)
        finally:
            depth[0] -= 1

    return method


def calls_of(bench: Bench, name: str) -> set[str]:
    """Which methods a scenario calls."""

    def run(say: Callable[[Any], None]) -> None:
        called: set[str] = set()
        watch(called)
        with Store(bench.root, driver=bench.driver, retention=operations.retention(name)) as store:
            for step in operations.steps(name):
                step(store)
        say(called)

    bench.fresh()
    ended = children.run(run)
    assert ended.status == 0, f"{name}: {ended.trace}"
    found: set[str] = ended.said[0]
    return found


@pytest.fixture(scope="module")
def called(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    from tests.crash.laboratory import Bench

    bench = Bench(str(tmp_path_factory.mktemp("bench")), "vfs")
    names = [*operations.OPERATIONS, *operations.EPHEMERAL, *operations.SEQUENCES]
    found = set[str]().union(*(calls_of(bench, name) for name in names))
    bench.clear()
    return found


def test_every_public_operation_has_a_scenario(called: set[str]) -> None:
    lacking = {name for _, name in public()} - called - READS - {*ELSEWHERE}
    assert not lacking, f"give each a line in tests/crash/operations.py (or, if it changes nothing, in READS here): {sorted(lacking)}"


def test_what_is_said_to_read_only_is_there() -> None:
    assert {name for _, name in public()} >= {*READS, *ELSEWHERE}
    assert all((Path(__file__).parent / test).is_file() for test in ELSEWHERE.values())


def test_control_a_method_without_a_scenario_is_named(called: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name for _, name in public()} - called
    monkeypatch.setattr(Store, "polish", lambda store: None, raising=False)
    assert {name for _, name in public()} - called - before == {"Store.polish"}
