"""The simulator as a server."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).parent / "batchkit"


@contextmanager
def serving(*options: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Start it on a free port and yield it with what it printed."""
    process = subprocess.Popen(
        [COMMAND, "simulate", "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with process:
        try:
            assert process.stdout is not None
            lines: list[str] = []
            while not lines or "ANTHROPIC_API_KEY" not in lines[-1]:
                line = process.stdout.readline()
                assert line, lines
                lines.append(line.rstrip("\n"))
            yield process, lines
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.slow
def test_it_prints_what_to_export_and_serves_there() -> None:
    with serving("--scale", "600") as (_, lines):
        exports = {
            name: value
            for line in lines
            if line.startswith("export ")
            for name, value in re.findall(r"(\w+)=(\S+)", line)
        }
        request = urllib.request.Request(
            f"{exports['OPENAI_BASE_URL']}/batches",
            headers={"authorization": f"Bearer {exports['OPENAI_API_KEY']}"},
        )
        with urllib.request.urlopen(request, timeout=20) as reply:
            assert reply.status == 200

    assert exports["OPENAI_BASE_URL"] == f"{exports['ANTHROPIC_BASE_URL']}/v1"
    assert exports["BATCHKIT_PACE"] == "600"
    assert not any("\x1b" in line for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_it_is_told_to(number: signal.Signals) -> None:
    with serving() as (process, _):
        process.send_signal(number)

        assert process.wait(timeout=20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.slow
def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = subprocess.run(
            [COMMAND, "simulate", "--port", str(port)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    assert done.returncode == 1
    assert f"Port {port} is taken" in done.stderr
    assert "--port" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_plan_of_faults_strikes(tmp_path: Path) -> None:
    """From a file; it says that there is one."""
    plan = tmp_path / "night.yaml"
    plan.write_text("faults:\n- {route: openai.batches.list, fault: refuse, status: 503}\n")
    with serving("--faults", str(plan), "--seed", "3") as (_, lines):
        url = next(line.split()[1] for line in lines if line.startswith("OpenAI:"))
        request = urllib.request.Request(f"{url}/batches", headers={"authorization": "Bearer k"})
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(request, timeout=20)

    assert f"Faults:    {plan}" in lines


@pytest.mark.slow
def test_a_mistake_in_a_plan_is_told_by_line(tmp_path: Path) -> None:
    plan = tmp_path / "night.yaml"
    plan.write_text("faults:\n- fault: dorp\n")
    done = subprocess.run(
        [COMMAND, "simulate", "--faults", str(plan)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 1
    assert f"{plan}, line 2: `fault: dorp`" in done.stderr
    assert "did you mean `drop`?" in done.stderr
    assert "Traceback" not in done.stderr
