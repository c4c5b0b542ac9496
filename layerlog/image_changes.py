"""Instructions that change an image's config, as ``docker import --change`` and ``podman import --change`` take them.

One instruction a string: ``CMD``, ``ENTRYPOINT`` (both as a list in JSON, or as words for a shell), ``ENV``, ``EXPOSE``, ``LABEL``,
``STOPSIGNAL``, ``USER``, ``VOLUME``, ``WORKDIR``. Source: the Dockerfile reference; OCI image-spec v1.1, config.md.
"""

from __future__ import annotations

import json
import shlex
from typing import Any

from layerlog.eventstore.errors import InvalidRequest

Instruction = tuple[str, str]
KNOWN = ("CMD", "ENTRYPOINT", "ENV", "EXPOSE", "LABEL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR")


def checked(changes: list[str]) -> list[Instruction]:
    """(instruction, its words) of each. Raises InvalidRequest."""
    found = []
    for one in changes:
        word, _, rest = one.strip().partition(" ")
        if not rest and "=" in word:  # podman also takes CMD=/bin/sh
            word, _, rest = word.partition("=")
        if word.upper() not in KNOWN:
            raise InvalidRequest(f"unknown instruction {word[:40]!r}: {', '.join(KNOWN)} are known")
        if not rest.strip():
            raise InvalidRequest(f"{word.upper()} needs a value")
        found.append((word.upper(), rest.strip()))
    changed({}, found, "")
    return found


def changed(config: dict[str, Any], instructions: list[Instruction], platform: str) -> dict[str, Any]:
    """*config* with the instructions carried out, and for another *platform* (``os/architecture[/variant]``) if one is given."""
    inner = dict(config.get("config") or {})
    for word, rest in instructions:
        _SETTERS[word](inner, rest)
    found = {**config, "config": inner}
    if platform:
        system, _, machine = platform.partition("/")
        architecture, _, variant = machine.partition("/")
        if not system or not architecture:
            raise InvalidRequest(f"{platform[:40]!r} is no platform; it is os/architecture or os/architecture/variant")
        found |= {"os": system, "architecture": architecture, **({"variant": variant} if variant else {})}
    return found


def _command(key: str) -> Any:
    def put(inner: dict[str, Any], rest: str) -> None:
        inner[key] = _list(rest) if rest.startswith("[") else ["/bin/sh", "-c", rest]

    return put


def _list(rest: str) -> list[str]:
    try:
        found = json.loads(rest)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise InvalidRequest(f'{rest[:80]!r} is no list of words (["/bin/sh", "-c"])')
    return found


def _words(rest: str) -> list[str]:
    try:
        return shlex.split(rest)
    except ValueError as wrong:
        raise InvalidRequest(f"{rest[:80]!r}: {wrong}") from wrong


def _pairs(rest: str) -> list[tuple[str, str]]:
    """``A=1 B="two words"``, or the older ``A one value``."""
    words = _words(rest)
    if "=" not in words[0]:
        key, _, value = rest.partition(" ")
        if not value.strip():
            raise InvalidRequest(f"{rest[:80]!r} has no value; it is KEY=VALUE")
        return [(key, value.strip())]
    for word in words:
        if "=" not in word or word.startswith("="):
            raise InvalidRequest(f"{word[:80]!r} is not KEY=VALUE")
    return [(key, value) for key, _, value in (word.partition("=") for word in words)]


def _env(inner: dict[str, Any], rest: str) -> None:
    held = dict(one.partition("=")[::2] for one in inner.get("Env") or [])
    inner["Env"] = [f"{key}={value}" for key, value in {**held, **dict(_pairs(rest))}.items()]


def _label(inner: dict[str, Any], rest: str) -> None:
    inner["Labels"] = {**(inner.get("Labels") or {}), **dict(_pairs(rest))}


def _expose(inner: dict[str, Any], rest: str) -> None:
    ports = dict(inner.get("ExposedPorts") or {})
    for word in _words(rest):
        number, _, protocol = word.partition("/")
        if not (number.isascii() and number.isdigit() and 0 < int(number) < 65536 and protocol in ("", "tcp", "udp", "sctp")):
            raise InvalidRequest(f"{word[:40]!r} is no port; it is 80 or 53/udp")
        ports[f"{number}/{protocol or 'tcp'}"] = {}
    inner["ExposedPorts"] = ports


def _volume(inner: dict[str, Any], rest: str) -> None:
    places = _list(rest) if rest.startswith("[") else _words(rest)
    inner["Volumes"] = {**(inner.get("Volumes") or {}), **{place: {} for place in places}}


def _text(key: str) -> Any:
    def put(inner: dict[str, Any], rest: str) -> None:
        inner[key] = rest

    return put


_SETTERS: dict[str, Any] = {
    "CMD": _command("Cmd"),
    "ENTRYPOINT": _command("Entrypoint"),
    "ENV": _env,
    "EXPOSE": _expose,
    "LABEL": _label,
    "STOPSIGNAL": _text("StopSignal"),
    "USER": _text("User"),
    "VOLUME": _volume,
    "WORKDIR": _text("WorkingDir"),
}
