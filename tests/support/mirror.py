"""A mirror of a crawl on loopback that misbehaves on request."""

import contextlib
import http.server
import re
import socket
import struct
import threading
import time
from typing import NamedTuple


class Request(NamedTuple):
    """A request as the server saw it."""

    time: float
    path: str
    headers: dict


class Mirror:
    """Serves `files`; before that, what `script` says for a path, once each.

    Attributes:
        files: Content per path.
        tags: ETag per path; without one there is none.
        script: Answers to give first: functions of the handler and the content.
        always: Answers to give every time, when the script is used up.
        log: Requests, in order.
        url: Where it is.
    """

    def __init__(self, files, url):
        self.files, self.url = dict(files), url
        self.tags = {path: f'"{number}"' for number, path in enumerate(self.files)}
        self.script, self.always, self.log = {}, {}, []
        self.lock = threading.Lock()

    def answer(self, handler):
        path = handler.path.lstrip("/")
        with self.lock:
            headers = {k.lower(): v for k, v in handler.headers.items()}
            self.log.append(Request(time.monotonic(), path, headers))
            script = self.script.get(path)
            act = script.pop(0) if script else self.always.get(path, serve)
        if path not in self.files and act is serve:
            act = refuse(404)
        act(handler, self.files.get(path, b""), self.tags.get(path))

    def requests(self, path):
        return [request for request in self.log if request.path == path]

    def ranges(self, path):
        return [r.headers.get("range") for r in self.requests(path)]


def serve(handler, content, tag, *, honours_range=True, keep=None, claim=None):
    """Answers as a good server; sends `keep` bytes, says that they are `claim`."""
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    is_same = handler.headers.get("If-Range") in (None, tag)
    start = int(asked[1]) if asked and honours_range and is_same else 0
    if start and start >= len(content):
        return refuse(416)(handler, content, tag)
    body = content[start:]
    handler.send_response(206 if start else 200)
    if start:
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.send_header("Content-Range", span)
    if tag:
        handler.send_header("ETag", tag)
    handler.send_header("Content-Length", str(len(body) if claim is None else claim))
    handler.end_headers()
    handler.wfile.write(body if keep is None else body[:keep])
    if keep is not None or claim is not None:
        handler.wfile.flush()
        handler.close_connection = True


def refuse(status, **headers):
    def act(handler, content, tag):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return act


def cut(after, *, claim=None):
    """Sends some bytes and closes as if that were all."""
    return lambda h, content, tag: serve(h, content, tag, keep=after, claim=claim)


def reset(after):
    """Sends some bytes and resets the connection."""

    def act(handler, content, tag):
        serve(handler, content, tag, keep=after)
        time.sleep(0.02)  # What was sent is to arrive before the reset does.
        linger = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        handler.connection.close()

    return act


def silent(seconds, after):
    """Sends some bytes and then nothing for a while."""

    def act(handler, content, tag):
        serve(handler, content, tag, keep=after)
        time.sleep(seconds)

    return act


def late(seconds):
    """Answers after a while."""

    def act(handler, content, tag):
        time.sleep(seconds)
        serve(handler, content, tag)

    return act


def ignore_range(handler, content, tag):
    serve(handler, content, tag, honours_range=False)


def without_length(keep=None):
    """Sends content that ends where the connection does."""

    def act(handler, content, tag):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(content if keep is None else content[:keep])
        handler.close_connection = True

    return act


def in_chunks(keep=None):
    """Sends content in chunks; only the last tells where it ends."""

    def act(handler, content, tag):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        sent = content if keep is None else content[:keep]
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(sent), sent))
        if keep is None:
            handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True

    return act


@contextlib.contextmanager
def running(files):
    """Runs a mirror of `files` while the block runs."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            with contextlib.suppress(OSError):
                mirror.answer(self)

        def finish(self):
            with contextlib.suppress(OSError, ValueError):
                super().finish()

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.handle_error = lambda *arguments: None
        mirror = Mirror(files, f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield mirror
        finally:
            server.shutdown()
            thread.join()
