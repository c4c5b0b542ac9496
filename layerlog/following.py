"""What Store offers to those who want to know at once: ``follow``, in any process, and hooks on its own commits."""

from __future__ import annotations

import sys

from layerlog.core import Core
from layerlog.history import Commit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from layerlog.eventstore.follow import Follower
    from layerlog.eventstore.requests import Committed


class Following:
    """Commits as they become durable. Iterate, or ask with a limit of time; a context manager."""

    def __init__(self, core: Core, follower: Follower) -> None:
        self._core, self._follower = core, follower

    @property
    def after(self) -> int:
        """The last commit that was given out: where a later ``follow`` goes on."""
        return self._follower.after

    def new(self, seconds: float | None = 0.0) -> list[Commit]:
        """Commits since the last call; waits up to *seconds* (None: for ever) for one."""
        return [Commit(one.sequence, one.time_ns, one.envelope, one.events, one.size) for one in self._follower.new(seconds)]

    def __iter__(self) -> Iterator[Commit]:
        """For ever, until ``stop``; waits for each."""
        for one in self._follower:
            yield Commit(one.sequence, one.time_ns, one.envelope, one.events, one.size)

    def stop(self) -> None:
        """End the iteration, from any thread."""
        self._follower.stop()

    def close(self) -> None:
        """Stop and let go of files and watches."""
        self._follower.close()

    def __enter__(self) -> Following:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FollowMethods(Core):
    """Subscribe to changes."""

    def follow(self, after: int | None = None) -> Following:
        """Every commit after that one (default: the newest), whoever makes it, once and in order, as it becomes durable.

        ``for commit in store.follow():`` waits for ever; see Following for less. It outlives nothing: close it, or
        use it as a context manager, before the store is closed.
        """
        from layerlog.eventstore.follow import Follower

        start = self.sequence if after is None else after
        return Following(self, Follower(self.ledger.folder, start, durable=self.ledger.durable))

    def on_commit(self, callback: Callable[[Commit], object]) -> Callable[[], None]:
        """Call *callback* after each commit that this open store makes; returns what ends that.

        It runs in the thread that made the change, when that is durable and before its caller goes on; files that
        a deletion moves away may still be in place. What it raises is shown by ``sys.unraisablehook`` and stops
        nothing: the change has happened. Commits of other processes: ``follow``.
        """
        hooks = self.lazy.hooks
        hooks.append(callback)

        def end() -> None:
            if callback in hooks:
                hooks.remove(callback)

        return end


class _Unraisable:
    """What ``sys.unraisablehook`` takes."""

    def __init__(self, error: BaseException, callback: object) -> None:
        self.exc_type: type[BaseException] = type(error)
        self.exc_value: BaseException | None = error
        self.exc_traceback: TracebackType | None = error.__traceback__
        self.err_msg: str | None = "Exception ignored in a commit hook"
        self.object = callback


def tell(core: Core, committed: Committed) -> None:
    """Run the hooks of a commit that just became durable."""
    made = Commit(committed.sequence, committed.time_ns, core.terms.envelope, committed.events)
    for callback in list(core.lazy.hooks):
        try:
            callback(made)
        except Exception as error:  # noqa: BLE001 - the change is durable: its caller must not take it for failed
            sys.unraisablehook(_Unraisable(error, callback))
