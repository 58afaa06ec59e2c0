"""On a stop signal the server finishes running answers, accepts no more requests, and exits with 0."""

import json
import signal
import subprocess
import sys
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from paused import Paused


def is_healthy(address):
    client = HTTPConnection(address.hostname, address.port, timeout=60)
    try:
        client.request("GET", "/health")
        return client.getresponse().read() == b'{"status":"ok"}'
    except ConnectionError:
        return False
    finally:
        client.close()


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_an_answer_on_its_way_ends_and_the_server_with_it(endpoint, tmp_path, told):
    model = Paused("paused")
    name = endpoint(model).name
    command = [sys.executable, "-m", "lorag", "serve", "--port", "0", "--no-sources", "--model", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as server:
        try:
            assert server.stdout is not None
            address = urlsplit(server.stdout.readline().split(" answers at ")[1].split()[0])
            assert address.hostname is not None
            client = HTTPConnection(address.hostname, address.port, timeout=60)
            asked = {"model": name, "messages": [{"role": "user", "content": "How long?"}], "stream": True}
            client.request("POST", "/v1/chat/completions", json.dumps(asked), {"Content-Type": "application/json"})
            answer = client.getresponse()
            while b"It" not in answer.readline():
                pass
            server.send_signal(told)
            while is_healthy(address):
                time.sleep(0.01)
            model.gate.set()
            rest = answer.read().decode()
            answer.close()
            client.close()
            assert "months." in rest
            assert rest.endswith("data: [DONE]\n\n")
            assert server.wait(60) == 0
        finally:
            model.gate.set()
            server.kill()
