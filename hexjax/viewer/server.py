"""The page as a server on this machine: its files, and the streams of `contents`, made while they are sent.

Only who reaches it by its own address is answered (no other site can, whatever name it gives this machine), nothing that a
browser names reaches the file system, and one thing is made at a time, what somebody waits for first.
"""

import collections
import contextlib
import http.server
import ipaddress
import json
import os
import pathlib
import re
import signal
import socket
import socketserver
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
CLOSING = 5  # seconds that what is being made may take when the server ends
NOTHING = "there is nothing under this address"


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
            self.changed.wait_for(lambda: not self.is_taken, timeout=CLOSING)


class Stream:
    """The bytes of a key's messages, as far as they are made: whoever waits for the next one makes it for all."""

    def __init__(self, source: Iterator[messages.Message]):
        self.source, self.parts, self.is_whole = source, [], False


class Streams:
    """The streams of all keys, each made once and held while there is room."""

    def __init__(self, of: contents.Contents):
        self.contents, self.turn, self.lock = of, Turn(), threading.Lock()
        self.held: collections.OrderedDict[str, Stream] = collections.OrderedDict()
        self.bytes = 0  # of whole streams

    def read(self, key: str, ahead: bool = False) -> Iterator[bytes]:
        """The messages of a key, each as soon as it is there; what keeps one from being made is the last.

        Raises:
            LookupError: for a key that nothing stands under.
        """
        with self.lock:
            if key not in self.held:
                self.held[key] = Stream(messages.told(self.contents.messages(key)))
            self.held.move_to_end(key)
            return self._parts(key, self.held[key], ahead)

    def _parts(self, key: str, stream: Stream, ahead: bool) -> Iterator[bytes]:
        place = 0
        while place < len(stream.parts) or not stream.is_whole:
            if place == len(stream.parts):
                with self.turn.take(ahead):
                    if place == len(stream.parts) and not stream.is_whole:
                        self._advance(key, stream)
            yield stream.parts[place]
            place += 1

    def _advance(self, key: str, stream: Stream) -> None:
        message = next(stream.source)
        stream.is_whole = message.stage in messages.ENDS
        stream.parts.append(messages.encode(message))
        if stream.is_whole:
            with self.lock:
                if message.stage == "error":  # another try may do
                    self.held.pop(key, None)
                else:
                    self.bytes += sum(map(len, stream.parts))
                    self._make_room(key)

    def _make_room(self, but: str) -> None:
        for key in [key for key, each in self.held.items() if each.is_whole and key != but]:
            if self.bytes <= HELD:
                return
            self.bytes -= sum(map(len, self.held.pop(key).parts))

    def make_ahead(self) -> None:
        """Nothing; what a page is likely to ask is made when nobody waits for anything, into half of the room."""
        with contextlib.suppress(InterruptedError):
            for key in ahead(self.contents.index()):
                if self.bytes > HELD / 2:
                    return
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


class Server(http.server.ThreadingHTTPServer):
    """The server of one page."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], of: contents.Contents, up: str):
        self.address_family = _kind(address)
        self.contents, self.streams, self.up = of, Streams(of), up
        self.files = {
            f"/static/{file.name}": (file.read_bytes(), TYPES[file.suffix])
            for file in STATIC.iterdir()
            if file.suffix in TYPES
        }
        self.files["/"] = self.files.pop("/static/index.html")
        self.intake, self.maker = threading.Semaphore(1), threading.Thread(target=self.streams.make_ahead, daemon=True)
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        """Nothing; the socket is bound, and no name is looked for, which http.server would do."""
        socketserver.TCPServer.server_bind(self)

    def index(self) -> dict[str, Any]:
        """What the page reads first; `making`: whether something is still made ahead."""
        live = {"live": True, "formats": list(intake.SUFFIXES), "upload_bytes": intake.MOST}
        return self.contents.index() | live | {"making": self.maker.is_alive()}

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
        if not self._is_welcome():
            return
        path = self.path.partition("?")[0]
        if path in self.server.files:
            self._send(200, *self.server.files[path])
        elif path == "/data/index":
            self._send_index()
        else:
            try:
                stream = self.server.streams.read(path.removeprefix("/data/"))
            except LookupError:
                self._refuse(404, NOTHING)
            else:
                self._send_stream(stream)

    def _send_index(self) -> None:
        try:
            found = self.server.index()
        except (*messages.REFUSALS, *messages.FAULTS) as error:
            self._refuse(500, messages.fault(error))
        else:
            self._send_json(200, found)

    def do_POST(self) -> None:
        """A mesh joins the shapes of the page, or is refused in words."""
        if not self._is_welcome(ASKS):
            return
        path, _, query = self.path.partition("?")
        size = self.headers.get("Content-Length", "")
        if path != "/data/upload":
            self._refuse(404, NOTHING)
        elif not re.fullmatch(r"[0-9]{1,12}", size):
            self._refuse(411, f"the size of the file is {size or 'not told'!r}; accepted: a whole number of bytes")
        elif int(size) > intake.MOST:
            self._refuse(413, f"the file has {int(size):,} bytes; accepted: up to {intake.MOST:,}")
        elif not self.server.intake.acquire(blocking=False):
            self._refuse(503, "another mesh is being read; accepted: one at a time")
        else:
            try:
                self._open(urllib.parse.parse_qs(query).get("name", ["mesh"])[0], int(size))
            finally:
                self.server.intake.release()

    def _open(self, name: str, size: int) -> None:
        of, content = self.server.contents, self.rfile.read(size)
        if len(content) < size:  # the browser went away
            self.close_connection = True
            return
        try:
            if len(of.items) - of.count >= OPENED:
                raise ValueError(f"{OPENED} meshes are open; accepted: no more before the page is started anew")
            item, told = intake.take(name, content, self.server.up)
            self._send_json(200, {"shape": of.add(item, told), "name": item.name, "told": told})
        except ValueError as error:  # a state of the page, no fault of what it asked
            self._send_json(200, {"error": str(error)})

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Nothing; what http.server itself refuses is refused as the rest is."""
        self._refuse(code, message or NOTHING)

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


def check(address: tuple[str, int]) -> None:
    """Nothing; the address is one of this machine, and free.

    Raises:
        ValueError: if it is not.
    """
    try:
        with socket.create_server(address, family=_kind(address)):
            pass
    except OSError as error:
        reason = os.strerror(error.errno) if (error.errno or 0) > 0 else error.strerror  # below 0 for a name
        told = "accepted: one of this machine that is free; port 0 takes a free one"
        raise ValueError(f"--address is {address[0]}:{address[1]}: {reason}; {told}") from error


def _kind(address: tuple[str, int]) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


def serve(of: contents.Contents, address: tuple[str, int], up: str) -> int:
    """The exit code when a signal ends it; the page is there until then, and its address is told.

    Raises:
        ValueError: as `check`.
    """
    check(address)
    server = Server(address, of, up)
    if not ipaddress.ip_address(server.server_address[0]).is_loopback:
        progress.tell("warning: others who reach this machine's address can see the page, and open meshes on it")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.maker.start()
    print(f"the page is at {server.url} until Ctrl-C", file=sys.stderr, flush=True)
    ended.wait()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # a second one ends at once
    server.shutdown()
    server.streams.turn.end()
    server.server_close()
    print("the page is closed", file=sys.stderr, flush=True)
    return names.DONE
