"""The server: who is answered, what reaches the file system, how a mesh joins, and whose turn it is."""

import http.client
import json
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import numpy as np
import pytest

from hexjax import names
from hexjax.data import ply
from hexjax.types import Mesh
from hexjax.viewer import contents, intake, messages, server
from tests import shapes
from tests.viewer import twins

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A server of the twins, on a free port."""
    found = server.Server(("127.0.0.1", 0), twins.contents_of(twins.shared(tmp_path_factory)), "y")
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()
    found.streams.turn.end()
    found.server_close()


def ask(page, path, method="GET", body=None, **headers):
    """Status, headers and content of an answer."""
    connection = http.client.HTTPConnection(*page.server_address, timeout=60)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    found = answer.status, answer.headers, answer.read()
    connection.close()
    return found


def test_the_page_and_its_files_come_with_a_policy_that_lets_nothing_else_in(page):
    for path, kind in (("/", "text/html"), ("/static/page.js", "text/javascript"), ("/static/page.css", "text/css")):
        status, headers, content = ask(page, path)
        assert (status, headers["Content-Type"].partition(";")[0]) == (200, kind)
        assert headers["Content-Security-Policy"] == server.POLICY
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert len(content) > 100


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/etc/passwd",
        "/static/",
        "/data/",
        "/data/input/99x",
        "/data/made/0/60/77",
        "/data/seen/7/0",
        "/data/between/0/60/0/1/1.5",
        "/data/direction/0/60/99.0",
    ],
)
def test_nothing_but_the_page_is_there(page, path):
    status, _, content = ask(page, path)
    assert (status, json.loads(content)) == (404, {"error": "there is nothing under this address"})


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "elsewhere.example"},
        {"Host": "elsewhere.example:{port}"},
        {"Host": ""},
        {"Host": "[a:1"},
        {"Origin": "http://elsewhere.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_other_sites_are_refused_whatever_they_call_this_machine(page, headers):
    headers = {name: value.format(port=page.server_address[1]) for name, value in headers.items()}
    for method, path in (("GET", "/data/index"), ("GET", "/static/page.js"), ("POST", "/data/upload?name=a.ply")):
        status, _, content = ask(page, path, method, **headers, **({"X_Hexjax": "1"} if method == "POST" else {}))
        assert (status, json.loads(content)) == (403, {"error": "only the page itself is answered"})


@pytest.mark.parametrize(
    "host", ["localhost:{port}", "127.0.0.1:{port}", "[::1]:{port}", "192.168.1.5", "localhost:9000"]
)
def test_its_own_names_are_answered_at_any_port_as_of_a_tunnel(page, host):
    assert ask(page, "/data/index", Host=host.format(port=page.server_address[1]))[0] == 200


def test_a_link_of_another_site_may_lead_to_the_page(page):
    assert ask(page, "/", Sec_Fetch_Site="cross-site")[0] == 200
    assert ask(page, "/", Host="elsewhere.example", Sec_Fetch_Site="cross-site")[0] == 403


def test_the_index_tells_what_may_be_opened(page):
    found = json.loads(ask(page, "/data/index")[2])
    assert (found["live"], found["upload_bytes"]) == (True, intake.MOST)
    assert {".obj", ".glb", ".ply"} < set(found["formats"])


def test_a_stream_is_made_once_and_ends_with_done(page):
    first, second = (twins.unpacked(ask(page, "/data/made/0/60/0")[2]) for _ in range(2))
    assert [header["stage"] for header, _ in first if header["stage"] != "progress"] == [
        "code", "maps", "mesh", "scores", "done",
    ]  # fmt: skip
    assert [header for header, _ in second] == [header for header, _ in first]


def test_who_asks_for_what_is_under_way_gets_the_same_stream_and_nothing_is_made_twice(page, monkeypatch):
    made = []

    def source(key):
        for number in range(3):
            made.append(number)
            yield messages.progress(str(number))

    monkeypatch.setattr(page.contents, "messages", source)
    streams = server.Streams(page.contents)
    readers = [streams.read("any", ahead) for ahead in (True, False, False)]
    for _ in range(4):
        assert len({next(reader) for reader in readers}) == 1
    assert made == [0, 1, 2]
    assert [list(reader) for reader in readers] == [[], [], []]


def test_a_fault_of_the_code_is_told_in_the_stream_and_on_the_terminal_and_may_be_tried_again(
    page, monkeypatch, capsys
):
    def source(key):
        yield messages.progress("on its way")
        raise TypeError("of no kind")

    monkeypatch.setattr(page.contents, "messages", source)
    streams = server.Streams(page.contents)
    header = twins.unpacked(list(streams.read("any"))[-1])[0][0]
    assert header == {"stage": "error", "text": "a fault of hexjax: TypeError: of no kind"}
    assert capsys.readouterr().err == "page: a fault of hexjax: TypeError: of no kind\n"
    assert "any" not in streams.held


def test_an_index_that_cannot_be_made_is_told(page, monkeypatch):
    monkeypatch.setattr(page.contents, "index", lambda: {}[0])
    status, _, content = ask(page, "/data/index")
    assert (status, json.loads(content)) == (500, {"error": "a fault of hexjax: KeyError: 0"})


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("made/0/30/0", "checkpoint 30 cannot be restored: "),
        ("draw/0/60/0", "the family hexplane_ae draws nothing with latent.kind = deterministic"),
    ],
)
def test_what_cannot_be_made_is_told_in_the_stream(page, key, told):
    header, _ = twins.unpacked(ask(page, f"/data/{key}")[2])[-1]
    assert header["stage"] == "error"
    assert header["text"].startswith(told)
    assert "\n" not in header["text"]


def test_a_mesh_joins_the_shapes_and_is_shown_as_they_are(page):
    content = ply.write(shapes.torus())
    status, _, answer = ask(page, "/data/upload?name=%2Fetc%2Fmy+torus.ply", "POST", content, X_Hexjax="1")
    told = json.loads(answer)
    assert (status, told["name"], told["told"]) == (200, "my torus", [])
    index = json.loads(ask(page, "/data/index")[2])
    shape = index["shapes"][told["shape"]]
    assert (shape["name"], shape["faces"]) == ("my torus", len(shapes.torus().faces))
    assert len(index["runs"][0]["parts"]) == told["shape"]
    stages = [header["stage"] for header, _ in twins.unpacked(ask(page, f"/data/made/0/60/{told['shape']}")[2])]
    assert [stage for stage in stages if stage != "progress"] == ["code", "maps", "mesh", "scores", "done"]


def test_a_mesh_that_does_not_load_is_refused_in_the_loaders_words(page):
    bad = shapes.torus()
    bad.vertices[0] = np.nan
    status, _, answer = ask(page, "/data/upload?name=bad.ply", "POST", ply.write(bad), X_Hexjax="1")
    assert (status, json.loads(answer)["error"]) == (
        200,
        "bad.ply: 1 of 1024 vertices used by faces are NaN or infinite",
    )


def test_a_form_of_another_site_cannot_open_a_mesh(page):
    assert ask(page, "/data/upload?name=a.ply", "POST", b"ply")[0] == 403


def test_a_file_that_is_too_large_or_of_no_known_format_is_not_read(page):
    size = intake.MOST + 1
    connection = http.client.HTTPConnection(*page.server_address, timeout=60)
    connection.putrequest("POST", "/data/upload?name=a.ply")
    for name, value in (("X-Hexjax", "1"), ("Content-Length", str(size))):
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    told = f"the file has {size:,} bytes; accepted: up to {intake.MOST:,}"
    assert (answer.status, json.loads(answer.read())) == (413, {"error": told})
    connection.close()
    for size in ("", "²", "-1", "9" * 5000):
        assert raw(page, f"POST /data/upload HTTP/1.1\r\nX-Hexjax: 1\r\nContent-Length: {size}").startswith(
            b"HTTP/1.1 411 "
        )
    status, _, answer = ask(page, "/data/upload?name=a.exe", "POST", b"MZ", X_Hexjax="1")
    assert (status, json.loads(answer)["error"]) == (
        200,
        f"a.exe: unknown format '.exe'; accepted: {', '.join(intake.SUFFIXES)}",
    )


def raw(page, head, content=b""):
    """The answer to a request as it stands, whose connection is closed after it."""
    with socket.create_connection(page.server_address) as connection:
        connection.sendall(f"{head}\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode() + content)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_mesh_that_breaks_off_on_its_way_joins_nothing(page):
    before = len(page.contents.items)
    head = "POST /data/upload?name=half.obj HTTP/1.1\r\nX-Hexjax: 1\r\nContent-Length: 5000"
    assert raw(page, head, b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n") == b""
    assert len(page.contents.items) == before


def test_one_mesh_is_read_at_a_time(page):
    with page.intake:
        status, _, answer = ask(page, "/data/upload?name=a.ply", "POST", b"ply", X_Hexjax="1")
    assert (status, json.loads(answer)["error"]) == (503, "another mesh is being read; accepted: one at a time")


@pytest.mark.parametrize("line", ["HEAD / HTTP/1.1", "GET http://[/ HTTP/1.1", f"GET /{'x' * 70000} HTTP/1.1"])
def test_what_the_server_itself_refuses_has_the_policy_too(page, line):
    answer = raw(page, line)
    assert answer.startswith(b"HTTP/1.1 4") or answer.startswith(b"HTTP/1.1 5"), answer[:100]
    assert server.POLICY.encode() in answer


def test_what_is_waited_for_comes_before_what_is_made_ahead():
    turn, order, begun = server.Turn(), [], threading.Event()

    def work(name, ahead):
        with turn.take(ahead):
            order.append(name)

    with turn.take():
        threads = [threading.Thread(target=work, args=given) for given in (("ahead", True), ("asked", False))]
        threads[0].start()
        time.sleep(0.1)
        threads[1].start()
        while not turn.waiting:
            begun.wait(0.01)
    for thread in threads:
        thread.join()
    assert order == ["asked", "ahead"]


def test_nothing_is_made_when_the_server_ends():
    turn = server.Turn()
    turn.end()
    with pytest.raises(InterruptedError), turn.take():
        pass


def test_streams_that_are_held_take_no_more_than_their_room(monkeypatch):
    mesh = messages.mesh("input", Mesh(np.zeros((100, 3), np.float32), np.zeros((0, 3), np.int32)))
    page = contents.Contents([], [])
    monkeypatch.setattr(page, "messages", lambda key: iter([mesh]))
    monkeypatch.setattr(server, "HELD", 4000)
    streams = server.Streams(page)
    for number in range(9):
        assert len(list(streams.read(f"input/{number}"))) == 2
    assert list(streams.held) == ["input/7", "input/8"]
    assert streams.bytes == sum(len(part) for each in streams.held.values() for part in each.parts)


def test_an_address_that_is_taken_is_refused(page):
    address = page.server_address[:2]
    with pytest.raises(ValueError, match=rf"^--address is 127.0.0.1:{address[1]}: Address already in use; accepted: "):
        server.serve(page.contents, address, "y")


def test_the_command_tells_its_address_and_ends_at_ctrl_c_without_a_trace_or_a_folder(tmp_path):
    command = [sys.executable, str(ROOT / "launch.py"), "--mode=view", "--config.data.source=solids"]
    given = [*command, "--config.data.count=2", "--config.extract.grid=24", "--address=0.0.0.0:0"]
    with subprocess.Popen(given, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        warned, line = process.stderr.readline(), process.stderr.readline()
        assert warned == "warning: others who reach this machine's address can see the page, and open meshes on it\n"
        url = re.fullmatch(r"the page is at (http://127\.0\.0\.1:\d+/) until Ctrl-C\n", line)[1]
        with urllib.request.urlopen(f"{url}data/index") as answer:
            assert [shape["name"] for shape in json.load(answer)["shapes"]] == ["chair_0000", "mug_0001"]
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "the page is closed\n"
    assert process.returncode == names.DONE
    assert list(tmp_path.iterdir()) == []
