"""``why-gone``: a short paragraph on how a thing came to be no more."""

from __future__ import annotations

from rich.console import Group

from layerlog.cli.views import palette, units
from layerlog.cli.views.advice import copyable
from layerlog.cli.views.text import Text
from layerlog.cli.views.who import command_line, who

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rich.console import RenderableType

    from layerlog.history import WhyGone


def gone_view(gone: WhyGone, now_ns: int, restore: str, kept_until_ns: int | None = None) -> RenderableType:
    """*restore* is the exact command that brings it back; *kept_until_ns* is when the contents may be freed."""
    what = Text.assemble((f"{gone.kind.capitalize()} ", ""), (", ".join(gone.names) or units.short(gone.id), palette.IMAGE))
    if gone.names:
        what.append(f" ({units.short(gone.id)})", style=palette.QUIET)
    what.append(f" was deleted {units.moment(gone.time_ns, now_ns)}, {units.age(gone.time_ns, now_ns)}, by ")
    what.append(who(gone.envelope), style=palette.NAME)
    if command := command_line(gone.envelope):
        what.append(", with ").append(command, style=palette.COMMAND)
    what.append(f" (commit {gone.sequence}).")
    what.append(f" The reason given: “{gone.envelope['reason']}”." if gone.envelope.get("reason") else " No reason was given.")
    if gone.with_it:
        what.append(f" {_with_it(gone)} went with it.")
    if not gone.can_return:
        return Group(what, Text(), Text(f"It cannot come back: {gone.why_not}.", style=palette.REMOVED))
    until = f" until {units.moment(kept_until_ns, now_ns).removeprefix('on ')}" if kept_until_ns and kept_until_ns > now_ns else ""
    return Group(what, Text(), Text(f"It can come back{until}:"), Text(), copyable(restore))


def _with_it(gone: WhyGone) -> str:
    """``2 layers and 1 container``."""
    counts: dict[str, int] = {}
    for kind, _ in gone.with_it:
        counts[kind] = counts.get(kind, 0) + 1
    parts = [units.count(number, kind) for kind, number in counts.items()]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
