"""The envelope says who, and no secrets."""

from __future__ import annotations

import os

import pytest

from layerlog.eventstore.envelope import MASK, envelope, mask_arguments


@pytest.mark.parametrize(
    ("given", "masked"),
    [
        (["pull", "--creds", "me:pw", "image"], ["pull", "--creds", MASK, "image"]),
        (["pull", "--creds=me:pw", "image"], ["pull", "--creds=" + MASK, "image"]),
        (["--password", "-", "x"], ["--password", "-", "x"]),
        (["load", "https://me:pw@host/path"], ["load", f"https://{MASK}@host/path"]),
        (["-e", "API_TOKEN=abc"], ["-e", "API_TOKEN=" + MASK]),
        (["create-layer", "--name", "base", "-r"], ["create-layer", "--name", "base", "-r"]),
        (["tag", "app@sha256:12", "app:1.4"], ["tag", "app@sha256:12", "app:1.4"]),
    ],
)
def test_secrets_are_masked_and_names_stay(given: list[str], masked: list[str]) -> None:
    assert mask_arguments(given) == masked


def test_envelope_names_process_and_boot() -> None:
    facts = envelope(actor="ci/1", reason="because")
    assert (facts["uid"], facts["pid"], facts["actor"], facts["reason"]) == (os.getuid(), os.getpid(), "ci/1", "because")
    assert len(facts["boot"]) == 32
    assert "command" not in facts
