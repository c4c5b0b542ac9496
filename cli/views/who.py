"""Who did it and how, from the envelope of a commit."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def who(envelope: dict[str, Any]) -> str:
    """The caller's own word for who asked, else the user's name; ``sudo`` shows who logged in."""
    if actor := envelope.get("actor"):
        return str(actor)
    user, login = user_name(envelope.get("uid")), user_name(envelope.get("login_uid"))
    return f"{user} ({login})" if login and login != user and login != "?" else user


def user_name(uid: object) -> str:
    """Name of a user ID on this host; the number where there is none."""
    if not isinstance(uid, int) or uid < 0 or uid == 2**32 - 1:
        return "?"
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return f"uid {uid}"


def command_of(envelope: dict[str, Any]) -> str:
    """The command line as far as it was recorded, else the program that used the library."""
    command = str(envelope.get("command") or "")
    if not command:
        return str(envelope.get("program") or "")
    return " ".join([command, *(shell_word(str(word)) for word in envelope.get("arguments") or ())])


def command_line(envelope: dict[str, Any]) -> str:
    """The same with the program's name before it: what one would type."""
    program, line = str(envelope.get("program") or ""), command_of(envelope)
    return line if not envelope.get("command") or not program else f"{program} {line}"


def shell_word(word: str) -> str:
    """*word* as a shell needs it, in one line."""
    import shlex

    from layerlog.cli.run import one_line

    return one_line(shlex.quote(word))
