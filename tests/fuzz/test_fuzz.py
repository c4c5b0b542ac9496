"""A time box of each fuzzer (README.md has their long forms, and what was run)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from tests.drivers import tars
from tests.drivers.hostile import CORPUS
from tests.fuzz import shapes
from tests.fuzz.harness import Case, Way
from tests.fuzz.images import ImageCase
from tests.fuzz.run import run_seed
from tests.seeds import seed_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS = float(os.environ.get("LAYERLOG_FUZZ_SECONDS", "16"))
"""For all of them together."""

NAMES = st.one_of(
    st.sampled_from(shapes.NAMES),
    st.lists(st.sampled_from([b"a", b"d", b"e", b"s", b"t", b"..", b".", b"", b".wh.a", b"\xff"]), max_size=5).map(b"/".join),
)
TARGETS = st.one_of(st.sampled_from(shapes.TARGETS), NAMES)
RECORDS = st.dictionaries(st.sampled_from(shapes.KEYS), st.one_of(st.sampled_from(shapes.VALUES), st.binary(max_size=12)), max_size=3)
SIZES = st.one_of(st.none(), st.none(), st.none(), st.integers(-2, 3000), st.sampled_from([2**33, 2**63, 2**80, -(2**80)]))
WAYS = st.builds(Way.number, st.integers(0, 15), st.just(os.geteuid() == 0))


@st.composite
def members(draw: st.DrawFn) -> bytes:
    """One member: a header of any kind, perhaps with records before it, and content that may not be what the header says."""
    content = draw(st.binary(max_size=40)) * draw(st.sampled_from([1, 1, 30]))
    size = draw(SIZES)
    header = tars.header(
        draw(NAMES),
        draw(st.sampled_from(shapes.KINDS)),
        len(content) if size is None else size,
        draw(st.integers(0, 0o7777)),
        link=draw(TARGETS),
        mtime=draw(st.sampled_from([0, 1, -1, 2**33, 2**80])),
        major=draw(st.sampled_from([0, 1, 2**12])),
    )
    records = draw(RECORDS)
    return (tars.pax(records, draw(st.sampled_from([b"x", b"x", b"g"]))) if records else b"") + header + tars.padded(content)


ARCHIVES = st.one_of(
    st.lists(members(), max_size=6).map(lambda found: b"".join(found) + tars.END),
    st.sampled_from([one.archive() for one in CORPUS.values() if len(one.members) < 20_000]),
)


@pytest.fixture(scope="module")
def case() -> Iterator[Case]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as place:
        yield Case(place)


def in_a_time_box(one: Callable[[int], None], seconds: float) -> None:
    seed = seed_of("LAYERLOG_FUZZ_SEED")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            one(seed)
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
        seed += 1


def test_hostile_archives_neither_escape_nor_crash_nor_lose_a_byte(case: Case) -> None:
    """A time box of new cases each run; a failure names its seed, and ``python -m tests.fuzz.run --seed N`` repeats it."""
    in_a_time_box(lambda seed: run_seed(case, seed), SECONDS * 0.4)
    assert case.accepted
    assert case.refused


def test_hostile_image_archives_end_in_a_list_of_images_or_a_typed_error() -> None:
    """``python -m tests.fuzz.run --images --seed N`` repeats one."""
    images = ImageCase()
    in_a_time_box(images.run_seed, SECONDS * 0.2)
    assert images.found
    assert images.refused


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(data=ARCHIVES, way=WAYS)
def test_archives_that_hypothesis_makes_do_neither(case: Case, data: bytes, way: Way) -> None:
    case.run(data, way)


@settings(max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(data=ARCHIVES, way=WAYS, pack=st.sampled_from(list(tars.COMPRESSIONS)), cut=st.integers(0, 40), flip=st.integers(0, 10**6))
def test_packed_archives_that_are_cut_or_damaged_do_neither(case: Case, data: bytes, way: Way, pack: str, cut: int, flip: int) -> None:
    packed = bytearray(tars.COMPRESSIONS[pack](data))
    packed[flip % len(packed)] ^= 1 << flip % 8
    case.run(bytes(packed[: len(packed) - cut]), way)


def test_cases_that_coverage_chooses_do_neither() -> None:
    pytest.importorskip("atheris", reason="atheris is not installed: it has no package for this Python")
    command = [sys.executable, "-m", "tests.fuzz.run", "--steered", "--seconds", str(max(2, SECONDS * 0.25))]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"executed_units: *\d\d+", done.stderr), done.stderr[-1000:]
