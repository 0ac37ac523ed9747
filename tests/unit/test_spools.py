"""Spools: what stands on disk is what was counted and hashed, however large it is."""

import hashlib
from pathlib import Path

import pytest

from batchkit.spools import Spools


@pytest.mark.parametrize("size", [10, 700_000])
def test_a_spool_holds_its_lines_as_they_were_counted_and_hashed(tmp_path: Path, size: int):
    """More than one stretch that the system is told to write, from lines of every size."""
    spools = Spools(tmp_path)
    lines = [bytes([65 + number % 26]) * (size + number) for number in range(60)]
    with spools.writer("token") as writer:
        for line in lines:
            writer.add(line)
        sha256 = writer.seal()
    content = b"".join(line + b"\n" for line in lines)
    assert writer.path.read_bytes() == content
    assert (writer.count, writer.bytes) == (len(lines), len(content))
    assert sha256 == hashlib.sha256(content).hexdigest()


def test_a_spool_that_need_not_stay_in_memory_stays_on_disk(tmp_path: Path):
    spools = Spools(tmp_path)
    with spools.writer("token") as writer:
        writer.add(b"x" * 2_000_000)
        writer.seal()
    spools.cool("token")
    assert writer.path.read_bytes() == b"x" * 2_000_000 + b"\n"
    spools.forget("token")
    spools.cool("token")
    assert not writer.path.exists()
