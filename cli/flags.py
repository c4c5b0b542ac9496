"""Flags that every command takes."""

from __future__ import annotations

from layerlog.cli.command import FRIENDLY, switch, text, texts

STORE_FLAGS = (
    text("--graph -g", "Root of the storage tree"),
    text("--run -R", "Root of the runtime state tree"),
    text("--image-store", "Root of the image store"),
    switch("--transient-store", "Transient store: containers do not outlive a boot"),
    text("--storage-driver -s", "Storage driver to use ($STORAGE_DRIVER)"),
    texts("--storage-opt", "Set storage driver options ($STORAGE_OPTS)"),
    switch("--debug -D", "Print debugging information"),
    switch("--unshare -U", "Run in a user namespace"),
)
"""Global flags of the original, accepted before and after the command at both doors."""

PEOPLE_FLAGS = (
    text("--actor", "Your own word for who does this, kept in the history ($LAYERLOG_ACTOR)", door=FRIENDLY),
    text("--reason", "Why, kept in the history ($LAYERLOG_REASON)", door=FRIENDLY),
    text("--key", "Client key: a change with a key happens once, however often it is tried", door=FRIENDLY),
    text("--at", "Read the store as it was: a commit (4711), an age (2h), yesterday, a time (2026-11-01T12:00)", door=FRIENDLY),
    text("--journal", "Ask a copied journal instead of a store: its folder, or a bundle; nothing is written to it", door=FRIENDLY),
    text("--retention", "How long deleted contents can come back: 24h, 7d, 0 ($LAYERLOG_RETENTION)", door=FRIENDLY),
    switch("--json -j", "Machine-readable output", door=FRIENDLY),
    switch("--verbose", "Say more", door=FRIENDLY),
)
"""Global flags that only ``layerlog`` has."""
