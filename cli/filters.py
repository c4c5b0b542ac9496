"""``--filter KEY=VALUE`` of ``ls``, ``ps`` and ``prune``: the keys that podman and docker have and that mean something here."""

from __future__ import annotations

from layerlog.eventstore.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from layerlog.records import Container, Image
    from layerlog.view import View


def pairs(words: Iterable[str], known: Iterable[str]) -> list[tuple[str, str]]:
    """``KEY=VALUE`` words. Raises InvalidRequest for one that is none, or whose key means nothing here."""
    found = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in known:
            raise InvalidRequest(f"no filter {word[:60]!r}; known are {', '.join(f'{one}=' for one in known)}")
        found.append((key, value))
    return found


def moment(word: str) -> int:
    """Nanoseconds since 1970 of ``24h`` ago or of a time. Raises InvalidRequest, InvalidWhen."""
    import time

    from layerlog.when import parse_when

    kind, number = parse_when(word, time.time_ns())
    if kind != "time":
        raise InvalidRequest(f"{word[:40]!r} is no point in time (24h, 2026-11-01, 2026-11-01T12:00)")
    return number


def truth(key: str, word: str) -> bool:
    """``true`` or ``false``."""
    if word.lower() not in ("true", "false", "1", "0"):
        raise InvalidRequest(f"{key}={word[:40]}: true or false")
    return word.lower() in ("true", "1")


def matches(pattern: str, names: Iterable[str]) -> bool:
    """Whether one of *names* is *pattern*, contains it as a path does, or fits it as a glob (``app*``, ``*:1.4``)."""
    from fnmatch import fnmatchcase

    return any(name == pattern or fnmatchcase(name, pattern) or name.partition(":")[0] == pattern for name in names)


IMAGE_KEYS = ("dangling", "reference", "before", "since", "until", "id", "containers")
CONTAINER_KEYS = ("ancestor", "name", "id", "status", "before", "since", "until")


def images(view: View, words: Iterable[str]) -> Callable[[Image], bool]:
    """What says whether an image passes all filters."""
    tests: list[Callable[[Image], bool]] = []
    used = {one.image for one in view.containers()}
    for key, value in pairs(words, IMAGE_KEYS):
        if key == "dangling":
            wanted = truth(key, value)
            tests.append(lambda image, wanted=wanted: bool(image.names) is not wanted)  # type: ignore[misc]
        elif key == "containers":
            wanted = truth(key, value)
            tests.append(lambda image, wanted=wanted: (image.id in used) is wanted)  # type: ignore[misc]
        elif key == "reference":
            tests.append(lambda image, value=value: matches(value, image.names))  # type: ignore[misc]
        elif key == "id":
            tests.append(lambda image, value=value: image.id.startswith(value))  # type: ignore[misc]
        else:
            tests.append(_by_time(key, value, lambda asked: view.image(asked).created_ns))
    return lambda image: all(test(image) for test in tests)


def containers(view: View, words: Iterable[str]) -> Callable[[Container], bool]:
    """What says whether a container passes all filters."""
    tests: list[Callable[[Container], bool]] = []
    mounted = {layer_id for layer_id, _, _ in view.mounts()}
    for key, value in pairs(words, CONTAINER_KEYS):
        if key == "ancestor":
            image_id = view.image(value).id
            tests.append(lambda one, image_id=image_id: one.image == image_id)  # type: ignore[misc]
        elif key == "status":
            if value not in ("mounted", "running", "unmounted", "exited", "created"):
                raise InvalidRequest(f"status={value[:40]}: mounted (or running), unmounted (or exited, created)")
            wanted = value in ("mounted", "running")
            tests.append(lambda one, wanted=wanted: (one.layer in mounted) is wanted)  # type: ignore[misc]
        elif key == "name":
            tests.append(lambda one, value=value: any(value in name for name in one.names) or matches(value, one.names))  # type: ignore[misc]
        elif key == "id":
            tests.append(lambda one, value=value: one.id.startswith(value))  # type: ignore[misc]
        else:
            tests.append(_by_time(key, value, lambda asked: view.container(asked).created_ns))
    return lambda one: all(test(one) for test in tests)


def _by_time(key: str, value: str, created: Callable[[str], int]) -> Callable[[Image | Container], bool]:
    """``until=24h``; ``before=X`` and ``since=X``, X being another of the same kind."""
    if key == "until":
        at = moment(value)
        return lambda one: one.created_ns < at
    at = created(value)
    return (lambda one: one.created_ns < at) if key == "before" else (lambda one: one.created_ns > at)
