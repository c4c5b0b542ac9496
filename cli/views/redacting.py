"""The plan of a redaction: which commits, what goes for ever, what stays."""

from __future__ import annotations

from rich.console import Group

from layerlog.cli.views import palette, units
from layerlog.cli.views.text import Text
from layerlog.cli.views.who import command_of, who

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from layerlog.cli.views.log import Told

COMMITS_SHOWN = 20
GONE = "Gone for ever: their names, metadata and flags, and who made them."
REPLACED = "What still has one of these words today has a placeholder then: give it another first."
STAYS = "What stays: numbers, times, commands, the hash chain; IDs, digests, sizes, pins, client keys, labels of mounts."
BESIDE = "Not touched: contents of layers and data items, bundles, exports and backups."


def redaction_view(told: Sequence[Told], now_ns: int) -> RenderableType:
    """*told*: the commits with the words that they say now."""
    lines = [Text(f"Redacting {units.count(len(told), 'commit')}:", style=palette.TITLE)]
    for commit, said in told[:COMMITS_SHOWN]:
        head = Text.assemble((f"  {commit.sequence}", palette.COMMAND), "  ", (who(commit.envelope), palette.NAME))
        head.append(f"  {command_of(commit.envelope)}  {units.age(commit.time_ns, now_ns)}", style=palette.QUIET)
        lines += [head, *(Text.assemble("      ", (sign, palette.SIGN_STYLE.get(sign, "")), " ", words) for sign, words in said)]
    for line in lines[1:]:
        line.no_wrap, line.overflow = True, "ellipsis"
    if len(told) > COMMITS_SHOWN:
        lines.append(Text(f"  … and {len(told) - COMMITS_SHOWN:,} more", style=palette.QUIET))
    lines += [Text(), Text(GONE, style=palette.REMOVED), Text(REPLACED), Text(STAYS), Text(BESIDE, style=palette.QUIET)]
    return Group(*lines)
