"""The page as a server on this machine: its files, and the streams of `contents`, made while they are sent.

Only who reaches it by its own address is answered (no other site can, whatever name it gives this machine), nothing that a
browser names reaches the file system, and one thing is made at a time, what somebody waits for first.
"""

import collections
import contextlib
import http.server
import ipaddress
import json
import pathlib
import signal
import socket
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any

from hexjax import names, progress
from hexjax.viewer import contents, intake, messages

STATIC = pathlib.Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
ASKS = "X-Hexjax"  # a header that no form of another site can send
HELD = 2**29  # bytes of streams that are held
OPENED = 32  # meshes that may be opened
IDLE = 30  # seconds that a connection may be silent


class Turn:
    """Whose turn it is to make something: what a page waits for comes before what is made ahead."""

    def __init__(self) -> None:
        self.waiting, self.is_taken, self.is_over = 0, False, False
        self.changed = threading.Condition()

    @contextlib.contextmanager
    def take(self, ahead: bool = False) -> Iterator[None]:
        """Within it nobody else makes anything.

        Raises:
            InterruptedError: where the server ends.
        """
        with self.changed:
            self.waiting += not ahead
            self.changed.wait_for(lambda: self.is_over or not (self.is_taken or (ahead and self.waiting)))
            self.waiting -= not ahead
            if self.is_over:
                raise InterruptedError
            self.is_taken = True
        try:
            yield
        finally:
            with self.changed:
                self.is_taken = False
                self.changed.notify_all()

    def end(self) -> None:
        """Nothing; returns when nothing is made any more, and nothing will be."""
        with self.changed:
            self.is_over = True
            self.changed.notify_all()
            self.changed.wait_for(lambda: not self.is_taken, timeout=IDLE)


class Streams:
    """The bytes of messages under each key, made once and held while there is room."""

    def __init__(self, of: contents.Contents):
        self.contents, self.turn = of, Turn()
        self.held: collections.OrderedDict[str, list[bytes]] = collections.OrderedDict()
        self.lock = threading.Lock()

    def read(self, key: str, ahead: bool = False) -> Iterator[bytes]:
        """The messages of a key, each as soon as it is there; what keeps one from being made is the last.

        Raises:
            LookupError: for a key that nothing stands under.
        """
        with self.lock:
            if key in self.held:
                self.held.move_to_end(key)
                return iter(self.held[key])
        return self._make(key, self.contents.messages(key), ahead)

    def _make(self, key: str, stream: Iterator[messages.Message], ahead: bool) -> Iterator[bytes]:
        found, is_whole = [], False
        while not is_whole:
            with self.turn.take(ahead):
                message, is_whole = _next(stream)
                found.append(messages.encode(message))
            yield found[-1]
        if message.stage == "done":
            self._hold(key, found)

    def _hold(self, key: str, found: list[bytes]) -> None:
        with self.lock:
            self.held[key] = [one for one in found if b'{"stage": "progress"' not in one[:40]]
            while sum(len(one) for each in self.held.values() for one in each) > HELD and len(self.held) > 1:
                self.held.popitem(last=False)

    def make_ahead(self) -> None:
        """Nothing; what a page shows of each shape is made when nobody waits for anything else. Ends with the server."""
        with contextlib.suppress(InterruptedError):
            for key in ahead(self.contents.index()):
                collections.deque(self.read(key, ahead=True), maxlen=0)


def ahead(index: dict[str, Any]) -> list[str]:
    """Keys in the order in which a page is likely to ask: all of the first shape, directions, and the other shapes."""
    keys, runs = [], [(number, run, run["steps"][-1:]) for number, run in enumerate(index["runs"])]
    for shape in range(len(index["shapes"])):
        keys.append(f"input/{shape}")
        for number, run, last in runs:
            keys += [f"seen/{number}/{shape}", *(f"made/{number}/{step}/{shape}" for step in last)]
            if shape == 0 and run["directions"]:
                still = ",".join(["0.0"] * run["directions"]["count"])
                keys += [f"direction/{number}/{step}/{still}" for step in last]
    return keys


def _next(stream: Iterator[messages.Message]) -> tuple[messages.Message, bool]:
    """The next message of a stream, and whether it is the last."""
    try:
        found = next(stream, None)
    except IndexError:
        return messages.Message("error", {"text": "there is no such shape or run"}, {}), True
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        text = names.one_line(str(error) or type(error).__name__, 4 * names.LINE)
        return messages.Message("error", {"text": text}, {}), True
    return (messages.Message("done", {}, {}), True) if found is None else (found, False)


class Server(http.server.ThreadingHTTPServer):
    """The server of one page."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], of: contents.Contents, up: str):
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.contents, self.streams, self.up = of, Streams(of), up
        self.files = {
            f"/static/{file.name}": (file.read_bytes(), TYPES[file.suffix])
            for file in STATIC.iterdir()
            if file.suffix in TYPES
        }
        self.files["/"] = self.files.pop("/static/index.html")
        self.intake = threading.Semaphore(1)
        super().__init__(address, Handler)

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the page."""
        host, port = self.server_address[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    def is_own(self, host: str | None) -> bool:
        """Whether a request names this machine by a number, or by a name that it gives itself, at any port, as of a tunnel.

        Another name may be one that another site made point here.
        """
        with contextlib.suppress(ValueError):
            name = (urllib.parse.urlsplit(f"//{host or ''}").hostname or "").lower()
            return name in ("localhost", socket.gethostname().lower()) or bool(ipaddress.ip_address(name))
        return False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing; a browser that goes away is no fault, and others are a line."""
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError | InterruptedError):
            progress.tell(f"page: {names.one_line(f'{type(error).__name__}: {error}', names.LINE)}")


class Handler(http.server.BaseHTTPRequestHandler):
    """What one request is answered."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "hexjax", ""
    timeout = IDLE
    server: Server

    def do_GET(self) -> None:
        """A file of the page, the index, or a stream."""
        path = urllib.parse.urlsplit(self.path).path
        if not self._is_welcome():
            return
        if path in self.server.files:
            self._send(200, *self.server.files[path])
        elif path == "/data/index":
            live = {"live": True, "formats": list(intake.SUFFIXES), "upload_bytes": intake.MOST}
            self._send_json(200, self.server.contents.index() | live)
        elif path.startswith("/data/"):
            try:
                stream = self.server.streams.read(path.removeprefix("/data/"))
            except LookupError:
                self._send_json(404, {"error": "there is nothing under this address"})
                return
            self._send_stream(stream)
        else:
            self._send_json(404, {"error": "there is nothing under this address"})

    def do_POST(self) -> None:
        """A mesh joins the shapes of the page, or is refused in words."""
        asked = urllib.parse.urlsplit(self.path)
        if not self._is_welcome(ASKS):
            return
        size = self.headers.get("Content-Length", "")
        if asked.path != "/data/upload" or not size.isdigit():
            self._refuse(404, "there is nothing under this address")
        elif int(size) > intake.MOST:
            self._refuse(413, f"the file has {int(size):,} bytes; accepted: up to {intake.MOST:,}")
        else:
            content = self.rfile.read(int(size))
            name = urllib.parse.parse_qs(asked.query).get("name", ["mesh"])[0]
            try:
                self._send_json(200, self._take(name, content))
            except ValueError as error:  # a state of the page, no fault of what it asked
                self._send_json(200, {"error": str(error)})

    def _take(self, name: str, content: bytes) -> dict[str, Any]:
        of = self.server.contents
        with self.server.intake:
            if len(of.items) - len(of.runs[0].standings) >= OPENED:
                raise ValueError(f"{OPENED} meshes are open; accepted: no more before the page is started anew")
            item, told = intake.take(name, content, self.server.up)
            return {"shape": of.add(item, told), "name": item.name, "told": told}

    def _is_welcome(self, header: str = "") -> bool:
        """Whether a request comes from the page itself, or of a user who goes there; else it is refused."""
        host, origin = self.headers.get("Host"), self.headers.get("Origin")
        goes_there = self.command == "GET" and self.path == "/"  # a link may lead there, and no frame may show it
        sites = self.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin") or goes_there
        is_same = origin in (None, f"http://{host}", f"https://{host}")
        if self.server.is_own(host) and is_same and sites and (not header or self.headers.get(header)):
            return True
        self._refuse(403, "only the page itself is answered")
        return False

    def _refuse(self, code: int, text: str) -> None:
        self.close_connection = True  # what the browser still sends is not read
        self._send_json(code, {"error": text})

    def _send_json(self, code: int, told: Any) -> None:
        self._send(code, json.dumps(told, allow_nan=False).encode(), "application/json")

    def _send(self, code: int, content: bytes, kind: str) -> None:
        self._begin(code, kind, {"Content-Length": str(len(content))})
        self.wfile.write(content)

    def _send_stream(self, stream: Iterator[bytes]) -> None:
        self._begin(200, "application/octet-stream", {"Transfer-Encoding": "chunked"})
        for part in stream:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _begin(self, code: int, kind: str, more: dict[str, str]) -> None:
        self.send_response(code)
        closing = {"Connection": "close"} if self.close_connection else {}
        for name, value in (HEADERS | {"Content-Type": kind} | more | closing).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing; what a browser asks is not told."""


def serve(of: contents.Contents, address: tuple[str, int], up: str) -> int:
    """The exit code when a signal ends it; the page is there until then, and its address is told.

    Raises:
        ValueError: for an address that this machine does not have, or that is taken.
    """
    try:
        server = Server(address, of, up)
    except OSError as error:
        told = f"{error.strerror or error}; accepted: one of this machine that is free; port 0 takes a free one"
        raise ValueError(f"--address is {address[0]}:{address[1]}: {told}") from error
    if not ipaddress.ip_address(socket.gethostbyname(address[0]) if ":" not in address[0] else address[0]).is_loopback:
        progress.tell("warning: others who reach this machine's address can see the page, and open meshes on it")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    for work in (server.serve_forever, server.streams.make_ahead):
        threading.Thread(target=work, daemon=True).start()
    print(f"the page is at {server.url} until Ctrl-C", file=sys.stderr, flush=True)
    ended.wait()
    server.shutdown()
    server.streams.turn.end()
    server.server_close()
    print("the page is closed", file=sys.stderr, flush=True)
    return names.DONE
