"""Completion scripts, made from the table of commands."""

from __future__ import annotations

from layerlog.cli.commands import every
from layerlog.cli.help import friendly_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layerlog.cli.command import Command


def script(shell: str) -> str:
    """The script for ``bash``, ``zsh`` or ``fish``."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](every())


def _words(command: Command) -> str:
    return " ".join(word for flag in friendly_flags(command) for word in flag.words if word.startswith("--"))


def _bash(commands: list[Command]) -> str:
    cases = "\n".join(f"    {command.names[0]}) flags='{_words(command)}' ;;" for command in commands)
    names = " ".join(command.names[0] for command in commands)
    return f"""# bash completion for layerlog
_layerlog() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" command='' flags='' word
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "$word" in -*) ;; *) command="$word"; break ;; esac
  done
  case "$command" in
    '') COMPREPLY=($(compgen -W '{names}' -- "$current")); return ;;
{cases}
  esac
  case "$current" in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$current")) ;;
    *) COMPREPLY=($(compgen -W "$(layerlog images -q 2>/dev/null)" -- "$current") $(compgen -f -- "$current")) ;;
  esac
}}
complete -F _layerlog layerlog
"""


def _quoted(text: str) -> str:
    return text.replace("'", "'\\''")


def _zsh(commands: list[Command]) -> str:
    rows = "\n".join(f"    '{command.names[0]}:{_quoted(command.summary)}'" for command in commands)
    cases = "\n".join(f"      {command.names[0]}) flags=({_words(command)}) ;;" for command in commands)
    return f"""#compdef layerlog
_layerlog() {{
  local -a commands flags
  commands=(
{rows}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
  else
    case "$words[2]" in
{cases}
    esac
    if [[ "$words[CURRENT]" == -* ]]; then compadd -- $flags; else _files; fi
  fi
}}
_layerlog "$@"
"""


def _fish(commands: list[Command]) -> str:
    lines = ["# fish completion for layerlog"]
    for command in commands:
        name = command.names[0]
        lines.append(f"complete -c layerlog -n __fish_use_subcommand -a {name} -d '{_quoted(command.summary)}'")
        for flag in friendly_flags(command):
            long = next((word[2:] for word in flag.words if word.startswith("--")), "")
            value = "" if flag.kind == "switch" else " -r"
            lines.append(f"complete -c layerlog -n '__fish_seen_subcommand_from {name}' -l {long}{value} -d '{_quoted(flag.usage)}'")
    return "\n".join(lines) + "\n"
