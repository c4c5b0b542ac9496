"""``--format``: Go templates, as far as people type them at podman and docker.

``{{.ID}}``, ``{{.Config.User}}``, ``{{json .}}``, ``{{json .Names}}``, ``{{join .Names ","}}``, ``{{len .Names}}``, and text around them
with ``\\t`` and ``\\n``. A field is found whatever its case and punctuation: ``.BigDataNames`` is ``big-data-names``.
"""

from __future__ import annotations

import re

from layerlog.eventstore.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ACTION = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)
_CALL = re.compile(r'(?:(json|len|join|upper|lower)\s+)?(\.[\w.]*)(?:\s+"((?:[^"\\]|\\.)*)")?')


def expanded(template: str, row: dict[str, Any]) -> str:
    """*template* with the fields of *row*. Raises InvalidRequest for what is no template or no field."""
    if template == "json":
        return shown_json(row)
    rest = _ACTION.sub("", template)
    if "{{" in rest or "}}" in rest:
        raise InvalidRequest(f"--format: cannot read {template[:80]!r}: an action begins with {{{{ and ends with }}}}")
    text = _ACTION.sub(lambda found: _value(found.group(1), row).replace("\\", "\\\\"), template.removeprefix("table "))
    return re.sub(r"\\([tn\\])", lambda found: {"t": "\t", "n": "\n", "\\": "\\"}[found.group(1)], text)


def _value(action: str, row: dict[str, Any]) -> str:
    found = _CALL.fullmatch(action)
    if found is None:
        raise InvalidRequest(f'--format: cannot read {action[:60]!r}; known are .FIELD, json, len, upper, lower and join .FIELD ","')
    call, path, between = found.groups()
    value = field(row, path)
    if call == "json":
        return shown_json(value)
    if call == "len":
        return str(len(value) if isinstance(value, (str, list, dict)) else 0)
    if call == "join":
        return (between or "").join(map(_plain, value if isinstance(value, list) else [value]))
    text = _plain(value)
    return {"upper": text.upper(), "lower": text.lower()}.get(call or "", text)


def field(row: Any, path: str) -> Any:
    """The value at ``.One.Two``; ``.`` is the whole row."""
    value = row
    for name in path.strip(".").split(".") if path != "." else ():
        known = {_bare(key): key for key in value} if isinstance(value, dict) else {}
        if _bare(name) not in known:
            fields = ", ".join(known.values()) or "none"
            raise InvalidRequest(f"--format: there is no field {name[:40]!r} (there are {fields})")
        value = value[known[_bare(name)]]
    return value


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return "[" + " ".join(map(_plain, value)) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_plain(one)}" for key, one in value.items()) + "]"
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def shown_json(value: Any) -> str:
    """One line of JSON."""
    import json

    return json.dumps(value, ensure_ascii=False)
