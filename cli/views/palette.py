"""Colours and signs, one place. Only the eight colours that every theme tunes for its own background, dark or light."""

from __future__ import annotations

IMAGE = "bold cyan"
CONTAINER = "bold green"
MOUNT = "magenta"
NAME = "cyan"
QUIET = "dim"
LANE = "cyan"
TITLE = "bold"
ADDED, REMOVED, CHANGED, RETURNED = "green", "red", "yellow", "blue"
COMMAND = "bold"

IMAGE_SIGN, CONTAINER_SIGN, MOUNT_SIGN = "◆", "■", "▸"
SIGN_STYLE = {"+": ADDED, "−": REMOVED, "~": CHANGED, "↺": RETURNED}
