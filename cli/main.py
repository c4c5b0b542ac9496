"""Where every call of the program starts: which of the two front doors, and the last word on errors."""

from __future__ import annotations

import os
import sys


def main(argv: list[str] | None = None) -> int:
    """Run a command line and return its exit status. *argv* includes the program's name."""
    words = sys.argv if argv is None else argv
    program = words[0] if words else "layerlog"
    if sys.stdin is None or sys.stdout is None or sys.stderr is None:
        _open_closed_streams()
    try:
        status = _dispatch(program, words[1:])
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        _write_no_more()
        return 141
    except OSError as error:  # what was to be told could not be written
        _write_no_more()
        return _last_word(program, error)
    except KeyboardInterrupt:
        return 130


def _write_no_more() -> None:
    """What is still in the buffer goes nowhere, so that the interpreter's last flush is silent."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _last_word(program: str, error: OSError) -> int:
    """One line on stderr, if that takes it; status 1."""
    from layerlog.cli.run import one_line, os_error

    try:
        sys.stderr.write(one_line(f"{os.path.basename(program)}: {os_error(error)}") + "\n")
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    return 1


def _open_closed_streams() -> None:
    """Put the null device where the caller closed a standard stream, or the next file, of the store, would get its number.

    It cannot be read from: a command that wants its input from a closed stdin fails, and takes no empty input for it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", errors="surrogateescape", closefd=False)


def _dispatch(program: str, words: list[str]) -> int:
    if os.path.basename(program) == "containers-storage":
        from layerlog.cli.compat import main as door

        return door(program, words)
    if words[:1] == ["compat"] and words[1:2] and words[1].partition("=")[0] not in ("--link", "--help", "-h"):
        from layerlog.cli.compat import main as door

        return door("containers-storage", words[1:])
    from layerlog.cli.friendly import main as friendly

    return friendly(words)


if __name__ == "__main__":
    sys.exit(main())
