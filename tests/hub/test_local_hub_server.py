import asyncio
import fcntl
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx2
import pytest
from local_hub_case import LocalHub

from sparsezoo_hub.errors import HubError
from sparsezoo_hub.hub.local_hub.process import running_hub
from sparsezoo_hub.hub.local_hub.server import create_app, serve
from sparsezoo_hub.hub.local_hub.tokens import write_token

COMMAND = [sys.executable, "-m", "sparsezoo_hub.hub.local_hub"]


def test_the_token_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    tokens: set[str] = set()
    threads = [threading.Thread(target=lambda: tokens.add(write_token(tmp_path / "hub"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 1
    assert len(tokens.pop()) > 40
    assert ((tmp_path / "hub" / "token").stat().st_mode & 0o777, len(list((tmp_path / "hub").iterdir()))) == (
        0o600,
        1,
    )
    assert write_token(tmp_path / "hub") != write_token(tmp_path / "other")
    (tmp_path / "hub" / "token").write_text("")
    with pytest.raises(HubError, match="got an empty file"):
        write_token(tmp_path / "hub")


def test_a_port_in_use_is_refused_in_a_sentence(local_hub: LocalHub, tmp_path: Path) -> None:
    port = int(local_hub.url.rpartition(":")[2])
    sentence = re.escape(
        f"port {port} on 127.0.0.1 is in use: choose another with --port, or 0 for a free one"
    )
    with pytest.raises(HubError, match=f"^{sentence}$"):
        serve(tmp_path / "hub", port, token="x")  # noqa: S106
    with pytest.raises(HubError, match=f"^{sentence}$"), running_hub(tmp_path / "hub", port):
        pass
    with pytest.raises(HubError, match="must be from 0 to 65535"):
        serve(tmp_path / "hub", 70_000, token="x")  # noqa: S106


def test_two_servers_on_one_root_are_refused(local_hub: LocalHub) -> None:
    sentence = f"is already served by process {local_hub.address.pid}: "
    with pytest.raises(HubError, match=sentence), running_hub(local_hub.root):
        pass
    assert local_hub.api.whoami()["name"] == "local"


def test_the_command_fails_with_one_line_and_exit_code_1(local_hub: LocalHub) -> None:
    command = [*COMMAND, "--root", str(local_hub.root), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_in_peace(tmp_path: Path, kind: signal.Signals) -> None:
    command = [*COMMAND, "--root", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        assert server.stdout.readline().startswith(b"http://127.0.0.1:")
        server.send_signal(kind)
        assert (server.wait(60), server.stderr.read()) == (0, b"")


def test_the_hub_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "from sparsezoo_hub.hub.local_hub.process import running_hub\n"
        f"with running_hub(Path({str(tmp_path)!r})) as hub:\n"
        "    print(hub.pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    parent = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert parent.returncode == -signal.SIGKILL
    # The child's standard output was the killed parent's pipe; its lock on the root tells when it is gone.
    with (tmp_path / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    assert int(parent.stdout) > 0


def test_a_running_hub_is_stopped_when_its_block_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), running_hub(tmp_path) as hub:
        raise KeyboardInterrupt
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(hub.url)
    with pytest.raises(ProcessLookupError):
        os.kill(hub.pid, 0)
    with running_hub(tmp_path) as again:
        assert again.token == hub.token
    assert hub.token not in repr(hub)


def test_an_unknown_address_is_answered_with_a_sentence(local_hub: LocalHub) -> None:
    for method, path, status in [
        ("GET", "/nothing", 404),
        ("POST", "/api/whoami-v2", 405),
        ("GET", "/datasets/a/b", 404),
    ]:
        answer = local_hub.client.request(method, path)
        assert answer.status_code == status
        assert "it holds model repositories only" in answer.json()["error"]


def test_the_application_serves_under_any_asgi_server(tmp_path: Path) -> None:
    transport = httpx2.ASGITransport(app=create_app(tmp_path, token="secret"))  # noqa: S106

    async def ask() -> httpx2.Response:
        async with httpx2.AsyncClient(transport=transport, base_url="http://hub") as client:
            return await client.get("/api/whoami-v2", headers={"Authorization": "Bearer secret"})

    assert asyncio.run(ask()).json()["name"] == "local"
