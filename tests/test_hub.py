"""Whether the Hub answers is found out with one request, and said at once where it does not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import huggingface_hub.constants
import pytest

from alignlab.hub import hub_answers


@contextmanager
def server(reply: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """The address of a server that sends `reply` to all it is asked, and the requests that it got."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:  # closed
                    return
                with connection:
                    asked.append(connection.recv(65536))
                    connection.sendall(reply)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "503 Service Unavailable"])
def test_any_answer_is_one(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()) as (address, asked):
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        assert hub_answers()
        assert hub_answers()  # as of a model, its tokenizer, its commit
    assert len(asked) == 1


def test_a_closed_port_and_a_hub_switched_off_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(b"") as (address, _):
        pass
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    assert not hub_answers()
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with server(ok) as (address, asked):
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        assert not hub_answers()
    assert not asked


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ["model.source=someone/some-model"],
        ["probe.source={name: hub, path: someone/some-texts, languages: [en, de]}", "data.train.languages=[de]"],
    ],
)
def test_a_command_does_not_try_a_silent_hub_again(options: list[str], tmp_path: Path) -> None:
    with server(b"") as (address, asked):  # it hangs up, after which the Hub's libraries try again five times
        environment = os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
        environment.pop("HF_HUB_OFFLINE", None)
        command = [sys.executable, "-m", "alignlab.train", "config=demo", "dry_run=true", *options]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is not here and the Hub cannot be reached; expected a" in done.stderr
    assert done.stderr.strip().count("\n") == 0
    assert len(asked) <= 3  # tried again, it would be six for each file
