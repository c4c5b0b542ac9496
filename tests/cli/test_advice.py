"""Every command that a finding, a hint or a manual tells somebody to run is one that exists, with flags that it takes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from layerlog.cli.commands import find
from layerlog.cli.help import friendly_flags

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = [path for folder in ("layerlog", "cli", "eventstore", "drivers") for path in sorted((ROOT / folder).glob("*.py"))]


def told(path: Path) -> list[tuple[str, list[str]]]:
    """(command, long flags) of each text in a module that says ``layerlog COMMAND ...``."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        text = "".join(part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "{}" for part in parts)
        for match in re.finditer(r"^(?:  )?layerlog ([a-z][a-z-]*)((?: .*)?)$", text, re.MULTILINE):
            found.append((match.group(1), re.findall(r"(?<=\s)(--[a-z][a-z-]*)", match.group(2))))  # noqa: PERF401
    return found


def test_what_somebody_is_told_to_run_can_be_run() -> None:
    seen = 0
    for path in SOURCES:
        for name, flags in told(path):
            command = find(name)
            if command is None:  # a sentence that begins with the program's name
                assert name in ("stores", "itself", "compat", "has"), (name, path)
                continue
            seen += 1
            known = {word for flag in friendly_flags(command) for word in flag.words}
            assert set(flags) <= known, (name, flags, path)
    assert seen > 80, seen
