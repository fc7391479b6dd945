"""The page in a real browser: what is drawn, what its controls change, what is refused, and that nothing leaves it."""

import shutil
import threading

import numpy as np
import pytest
import trimesh

import hexjax
from hexjax.data import ply
from hexjax.viewer import contents, export, server
from tests import shapes
from tests.viewer import twins

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-quic")  # fmt: skip
STILL = "body[data-ready=true][data-busy=false]"
WAIT = 60_000  # ms


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no browser is driven without the package playwright"
    )
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser is installed; looked for {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def of(tmp_path_factory):
    return twins.contents_of(twins.shared(tmp_path_factory))


@pytest.fixture(scope="module")
def url(of):
    """The address of a server of the twins."""
    found = server.Server(("127.0.0.1", 0), of, "y")
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found.url
    found.shutdown()
    found.streams.turn.end()
    found.server_close()


class Told(list):
    """What the console says and which addresses are asked."""

    def watch(self, page):
        self.asked = []
        page.on("console", lambda message: self.append(message.text))
        page.on("pageerror", lambda error: self.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))


def open_page(browser, address, width=1280, height=720):
    """A page that stands still, and what it told."""
    page, told = browser.new_page(viewport={"width": width, "height": height}), Told()
    told.watch(page)
    page.goto(address)
    page.wait_for_selector(STILL, timeout=WAIT)
    return page, told


@pytest.fixture
def page(browser, url):
    """The page of the twins; nothing but itself was asked for, and its console is empty."""
    page, told = open_page(browser, url)
    yield page
    page.close()
    assert told == []
    assert [one for one in told.asked if not one.startswith((url, "data:", "blob:"))] == []


def pixels(page, selector):
    """Of a canvas, as text."""
    return page.eval_on_selector(selector, "canvas => canvas.toDataURL()")


def colours(page, selector):
    """How many colours a canvas shows."""
    count = """canvas => {
      const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d');
      copy.drawImage(canvas, 0, 0);
      return new Set(new Uint32Array(copy.getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size;
    }"""
    return page.eval_on_selector(selector, count)


def state(page):
    return page.evaluate("() => ({...document.body.dataset})")


def keys(page):
    return [page.get_attribute(f"#{name}", "data-key") for name in ("input", "maps", "made")]


def still(page, **expected):
    marks = "".join(f"[data-{name}='{value}']" for name, value in expected.items())
    page.wait_for_selector(STILL + marks, timeout=WAIT)


def set_slider(page, selector, value):
    page.eval_on_selector(selector, "(e, v) => { e.value = v; e.dispatchEvent(new Event('input')); }", str(value))


def test_all_panes_are_drawn(page):
    assert keys(page) == ["input/0", "seen/0/0", "made/0/60/0"]
    for selector in ("#input canvas", "#made canvas", "[data-view=front] canvas"):
        assert colours(page, selector) > 20, selector
    assert int(page.get_attribute("#made", "data-faces")) > 0
    assert page.inner_text("#verdict") == "WEAK"
    assert "F@0.01" in page.inner_text("#scores table")


def test_the_toggle_changes_the_maps_and_says_what_the_study_reported(page):
    before = pixels(page, "[data-view=front] canvas")
    page.click("#runs button[data-value='1']")
    still(page, run=1)
    assert page.inner_text("#runs button[aria-pressed=true]") == "BINARY"
    assert state(page)["kind"] == "mask"
    assert pixels(page, "[data-view=front] canvas") != before
    assert page.inner_text("#reasons p.shown").startswith(
        "The study reported: A Gaussian VAE on six silhouettes failed in all of about five runs"
    )
    assert "This run: EXPLODED" in page.inner_text("#reasons p.shown")


def test_cycling_changes_all_panes(page):
    views = ("#input canvas", "#made canvas", "[data-view=top] canvas")
    before = [pixels(page, view) for view in views]
    page.keyboard.press("ArrowRight")
    still(page, shape=1)
    assert keys(page) == ["input/1", "seen/0/1", "made/0/60/1"]
    assert all(pixels(page, view) != one for view, one in zip(views, before))
    page.click("#previous")
    still(page, shape=0)


def test_cameras_stay_locked(page):
    before, camera = pixels(page, "#made canvas"), state(page)["camera"]
    box = page.query_selector("#input canvas").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 180, box["y"] + 130, steps=4)
    page.mouse.up()
    still(page)
    assert state(page)["camera"] != camera
    assert pixels(page, "#made canvas") != before


def test_a_mesh_is_opened_and_a_nasty_one_refused_in_words(page, tmp_path):
    (tmp_path / "ring.ply").write_bytes(ply.write(shapes.torus()))
    page.set_input_files("#file", tmp_path / "ring.ply")
    still(page, shape=3)
    assert page.inner_text("#input .caption").startswith("opened here, ")
    assert page.get_attribute("#input", "data-faces") == str(len(shapes.torus().faces))
    (tmp_path / "cut.ply").write_bytes(ply.write(shapes.torus())[:200])
    page.set_input_files("#file", tmp_path / "cut.ply")
    page.wait_for_selector("#notice:not([hidden])", timeout=WAIT)
    assert page.inner_text("#notice").startswith("cut.ply: ")
    page.set_input_files("#file", {"name": "a.exe", "mimeType": "", "buffer": b"MZ"})
    page.wait_for_selector("#notice:not([hidden])", timeout=WAIT)
    assert page.inner_text("#notice").startswith("a.exe is not opened; accepted: .glb .gltf .obj")
    assert state(page)["state"] == "ok"


@pytest.fixture(scope="module")
def file(of, tmp_path_factory):
    """The page of the twins as a file, of the shapes that they were trained on."""
    place = tmp_path_factory.mktemp("page") / "page.html"
    export.export(contents.Contents(of.runs, of.items[:3], export.COARSE), place, 10**7)
    return place


@pytest.mark.slow
def test_a_page_in_a_file_shows_all_of_it_from_the_disk_alone(browser, file, tmp_path):
    page, told = open_page(browser, file.as_uri())
    assert not page.is_visible("#open")
    assert colours(page, "#made canvas") > 20
    before = pixels(page, "#made canvas")
    set_slider(page, "#step", 0)
    still(page, step=20)
    assert pixels(page, "#made canvas") != before
    set_slider(page, "#step", 2)
    still(page, step=60)
    set_slider(page, "#between", 2)
    page.wait_for_selector("#made[data-key='between/0/60/0/1/0.333']")
    set_slider(page, "#between", 6)
    page.wait_for_selector("#made[data-key='made/0/60/1']")
    set_slider(page, "input[data-direction='1']", 4)
    page.wait_for_selector("#made[data-key='direction/0/60/2.0,0.0']")
    page.click("#reset")
    page.click("#runs button[data-value='1']")
    still(page, run=1)
    with page.expect_download() as download:
        page.click("#save")
    page.click("#draw")
    page.wait_for_selector("#made[data-key='draw/1/60/0']")
    download.value.save_as(tmp_path / "saved.glb")
    assert len(hexjax.load(tmp_path / "saved.glb").faces) > 100
    assert told == []
    assert [one for one in told.asked if not one.startswith(("file:", "data:", "blob:"))] == []
    page.close()


def test_a_mesh_is_saved_in_the_units_it_came_in(page, of, tmp_path):
    for kind in ("GLB", "OBJ", "PLY"):
        page.select_option("#format", kind)
        with page.expect_download() as download:
            page.click("#save")
        assert download.value.suggested_filename == f"chair_0000_continuous.{kind.lower()}"
        place = tmp_path / download.value.suggested_filename
        download.value.save_as(place)
        made = next(one for one in of.messages("made/0/60/0") if one.stage == "mesh").arrays
        way = of.items[0].similarity.inverse()
        expected = way.scale * made["vertices"] @ np.asarray(way.rotation).T + way.translation
        found = trimesh.load(place, process=False, force="mesh")
        np.testing.assert_allclose(found.vertices, expected, atol=1e-5)
        np.testing.assert_array_equal(found.faces, made["faces"])


def test_nothing_is_saved_while_another_shape_is_on_its_way(page):
    held = []
    page.route("**/data/made/0/60/1", lambda route: held.append(route))
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#input[data-key='input/1']")
    assert page.is_disabled("#save")
    page.wait_for_timeout(200)
    held[0].continue_()
    still(page, shape=1)
    assert not page.is_disabled("#save")


def test_a_latent_that_is_held_stays_when_the_index_is_read_again(page, of, monkeypatch):
    still(page)
    page.wait_for_selector("#between")
    set_slider(page, "#between", 10)
    page.wait_for_selector("#made[data-key='between/0/60/0/1/0.250']")
    page.evaluate("() => renew()")
    still(page)
    assert page.input_value("#between") == "10"
    assert not page.is_disabled("#reset")
    page.click("#reset")
    page.wait_for_selector("#made[data-key='made/0/60/0']")


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 720), (1600, 1000)])
def test_nothing_leaves_the_window(browser, url, width, height):
    page, told = open_page(browser, url, width, height)
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    if width >= 1280:
        assert page.evaluate(
            "() => document.querySelector('#scores table').getBoundingClientRect().bottom <= innerHeight"
        )
    assert told == []
    page.close()


@pytest.mark.slow
def test_keys_do_what_buttons_do(page):
    for key, name, value in (("n", "kind", "normals"), ("m", "kind", "mask"), ("d", "kind", "depth"), ("2", "run", "1"),
                             ("1", "run", "0"), ("x", "source", "difference"), ("o", "source", "decoded")):  # fmt: skip
        page.keyboard.press(key)
        still(page, **{name: value})
    before = pixels(page, "#made canvas")
    for key, button in (("w", "#wireframe"), ("g", "#ghost"), ("e", "#error")):
        was = page.get_attribute(button, "aria-pressed")
        page.keyboard.press(key)
        still(page)
        assert page.get_attribute(button, "aria-pressed") != was
        after = pixels(page, "#made canvas")
        assert after != before
        before = after


@pytest.mark.slow
def test_a_pixel_is_read_in_words(page):
    box = page.query_selector("[data-view=back] canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert "back" in page.inner_text("#readout")
    assert "depth" in page.inner_text("#readout")


@pytest.mark.slow
def test_every_control_can_be_reached_and_has_a_name(page):
    unnamed = """() => [...document.querySelectorAll('button, input, select')].filter(e => e.offsetParent && !(
      e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).map(e => e.outerHTML)"""
    assert page.evaluate(unnamed) == []
    page.focus("[data-view=back]")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#readout").startswith("back, row 8, column 8")


@pytest.mark.slow
def test_a_stopped_server_is_a_state_of_the_page(browser, url):
    page, _ = open_page(browser, url)
    page.context.set_offline(True)
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#banner:not([hidden])", timeout=WAIT)
    assert page.inner_text("#banner").startswith("The server has stopped. What is shown stays.")
    assert int(page.get_attribute("#made", "data-faces")) > 0
    page.context.set_offline(False)
    page.click("#retry")
    still(page, shape=1, state="ok")
    page.close()


@pytest.mark.slow
def test_a_run_without_a_checkpoint_and_no_run_show_the_ceiling(browser, of):
    bare = [run._replace(folder=None) for run in of.runs[:1]]
    found = server.Server(("127.0.0.1", 0), contents.Contents(bare, of.items[:1]), "y")
    threading.Thread(target=found.serve_forever, daemon=True).start()
    page, told = open_page(browser, found.url)
    assert page.inner_text("#made-title") == "Ceiling"
    assert page.inner_text("#reasons p.shown").startswith("No run; the input, its maps and the ceiling are shown.")
    assert colours(page, "#made canvas") > 20
    assert told == []
    found.shutdown()
    found.server_close()
    page.close()
