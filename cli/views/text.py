"""Text of views. Names, reasons, actors and keys are hostile: nothing in them may drive the terminal, or begin a line of its own."""

from __future__ import annotations

import rich.text

from layerlog.cli.run import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


class Text(rich.text.Text):
    """rich's Text, which passes escape sequences through, with control characters and line breaks written out."""

    def __init__(self, text: str = "", *arguments: Any, **options: Any) -> None:
        super().__init__(visible(text), *arguments, **options)

    def append(self, text: rich.text.Text | str, style: Any = None) -> Text:
        """Add text, written out as the rest."""
        super().append(visible(text) if isinstance(text, str) else text, style)
        return self

    @classmethod
    def assemble(cls, *parts: Any, **options: Any) -> Text:
        """A Text of words, of words with a style, and of Texts."""
        found = super().assemble(*parts, **options)
        assert isinstance(found, cls)
        return found

    @classmethod
    def lines(cls, words: Iterable[str], style: str = "") -> Text:
        """Each of *words* on a line of its own."""
        found = cls(style=style)
        rich.text.Text.append(found, "\n".join(map(visible, words)))
        return found
