"""An S3 object store on loopback, in a process of its own.

    with object_store.running() as store:
        subprocess.run([...], env={**os.environ, **store.environment})  # s3://...

It can be stopped, started again with all its objects, and made slow. The process
is moto's server; what moto does not promise, that a conditional write is one step,
is made so by letting one request at a time through.
"""

import contextlib
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator

BUCKET = "runs"


class ObjectStore:
    """The server, from outside.

    Attributes:
        environment: What makes any S3 client use it.
    """

    def __init__(self, process: subprocess.Popen[str]):
        self._process = process
        port = self._answer()
        endpoint = f"http://127.0.0.1:{port}"
        self.environment = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        request = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")
        urllib.request.urlopen(request).close()

    def new_place(self) -> str:
        """Returns the URL of a folder that nobody used yet."""
        return f"s3://{BUCKET}/{uuid.uuid4().hex[:8]}"

    def stop(self) -> None:
        """Refuses connections from now on."""
        self._tell("stop")

    def start(self) -> None:
        """Serves again what was there before."""
        self._tell("start")

    def delay(self, seconds: float) -> None:
        """Takes so long for every request from now on."""
        self._tell(f"delay {seconds}")

    def _tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("The object store ended.")
        return line.strip()


@contextlib.contextmanager
def running() -> Iterator[ObjectStore]:
    """Runs an object store; it ends with the block or with this process."""
    with subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield ObjectStore(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


def _serve() -> None:
    from moto.moto_server import werkzeug_app  # type: ignore[attr-defined]
    from werkzeug import serving

    moto = werkzeug_app.DomainDispatcherApplication(werkzeug_app.create_backend_app)
    one_at_a_time = threading.Lock()
    seconds = 0.0

    def app(environ, start_response):
        time.sleep(seconds)
        with one_at_a_time:
            return moto(environ, start_response)

    # Bound for good, so that nobody is given the port while the server is stopped.
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    host, port = reserved.getsockname()

    def listen() -> serving.BaseWSGIServer:
        server = serving.make_server(host, port, app, threaded=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    server, is_up = listen(), True
    print(port, flush=True)
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "stop" and is_up:
            server.shutdown()
            server.server_close()
        elif command == "start" and not is_up:
            server = listen()
        elif command == "delay":
            seconds = float(argument)
        is_up = {"stop": False, "start": True}.get(command, is_up)
        print("done", flush=True)


if __name__ == "__main__":
    _serve()
