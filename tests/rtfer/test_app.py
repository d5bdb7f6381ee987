"""The page in a real browser: video, webcam, images, bad input, two tabs, no request outside.

Debian's Chromium is driven by Playwright; its fake camera is fed by a drawn face.
"""

import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner
from videos import observation

from fer_tools.cli.common import USER_ERROR
from fer_tools.cli.main import app
from fer_tools.rtfer.app import page, sessions
from fer_tools.rtfer.app.sessions import Limits, SessionStore
from fer_tools.rtfer.video_reader import read_frames
from fer_tools.synthetic_faces.world import write_video

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip
MINUTE = 60_000  # milliseconds a step may take on a busy machine
browser_test = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """`sample.mp4` (2 s, one drawn face), `camera.mjpeg` of it, `portrait.png`, and bad files."""
    folder = tmp_path_factory.mktemp("shelf")
    write_video(folder, seed=7, seconds=2)
    frames = [frame.rgb for frame in read_frames(folder / "sample.mp4")]
    jpegs = [cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1] for rgb in frames]
    (folder / "camera.mjpeg").write_bytes(b"".join(jpeg.tobytes() for jpeg in jpegs))
    Image.fromarray(frames[0]).save(folder / "portrait.png")
    Image.fromarray(np.full((200, 300, 3), 120, np.uint8)).save(folder / "plain.png")
    (folder / "broken.png").write_text("no image")
    (folder / "text.mp4").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The page's address and its temporary folder; videos of up to 3 s, files of up to 1 MB."""
    server = pytest.importorskip("fer_tools.rtfer.app.server")
    folder = tmp_path_factory.mktemp("store").resolve()
    limits = Limits(minutes=0.05, megabytes=1)
    with socket.socket() as probe:
        probe.bind((server.ADDRESS, 0))
        port = probe.getsockname()[1]
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    store = SessionStore(folder, limits)
    blocks = server.build(store, "fer13-7")
    server.launch(blocks, port, limits, open_browser=False)
    yield f"http://{server.ADDRESS}:{port}/", folder
    blocks.close(verbose=False)
    store.close_all()
    assert not folder.exists()
    if before is None:
        del os.environ["GRADIO_TEMP_DIR"]
    else:
        os.environ["GRADIO_TEMP_DIR"] = before


def ask(address, method="GET", path="/", host=None, origin=None):
    """The status of a raw request with these headers."""
    name, port = address.removeprefix("http://").rstrip("/").split(":")
    connection = http.client.HTTPConnection(name, int(port), timeout=30)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"{name}:{port}")
    if origin:
        connection.putheader("Origin", origin)
    connection.putheader("Content-Length", "0")
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


def test_other_hosts_and_other_pages_are_refused(server):
    address, _ = server
    own = address.rstrip("/")
    assert ask(address) == 200
    assert ask(address, host=own.removeprefix("http://").replace("127.0.0.1", "localhost")) == 200
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example:7860", "127.0.0.1:1"):
        assert ask(address, host=host) == 403
    for origin in ("http://evil.example", "null", own + ".evil.example", "https://127.0.0.1:1"):
        assert ask(address, origin=origin) == 403
        for path in ("/gradio_api/upload", "/gradio_api/queue/join"):
            assert ask(address, "POST", path, origin=origin) == 403
    for path in ("/gradio_api/upload", "/gradio_api/queue/join"):
        assert ask(address, "POST", path) == 403  # a page always says where it comes from
        assert ask(address, "POST", path, origin=own) in (400, 415, 422)  # let in: the body is bad


def test_proxies_of_the_environment_are_not_asked(monkeypatch):
    server = pytest.importorskip("fer_tools.rtfer.app.server")
    for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:9")
    blocks = server.build(SessionStore(Path(os.environ["GRADIO_TEMP_DIR"]), Limits()), "fer13-7")
    with socket.socket() as probe:
        probe.bind((server.ADDRESS, 0))
        port = probe.getsockname()[1]
    server.launch(blocks, port, Limits(), open_browser=False)
    assert ask(f"http://{server.ADDRESS}:{port}/") == 200
    blocks.close(verbose=False)


@pytest.fixture(scope="module")
def browser(shelf):
    sync_api = pytest.importorskip("playwright.sync_api")
    camera = f"--use-file-for-fake-video-capture={shelf / 'camera.mjpeg'}"
    with sync_api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, camera])
        yield chromium
        chromium.close()


@pytest.fixture
def tab(browser, server):
    """Opens tabs of the page; at the end no request has left this machine, no script has failed."""
    address, folder = server
    requests, failures, contexts = [], [], []

    def open_tab(**options):
        context = browser.new_context(**options)
        context.set_default_timeout(MINUTE)
        context.on("request", lambda request: requests.append(request.url))
        contexts.append(context)
        opened = context.new_page()
        opened.on("pageerror", lambda error: failures.append(str(error)))
        opened.goto(address)
        opened.wait_for_selector("#video-file input[type=file]", state="attached")
        return opened

    yield open_tab
    for context in contexts:
        context.close()
    outside = [url for url in requests if not url.startswith((address, "data:", "blob:"))]
    assert requests and not outside
    assert not failures
    wait_until(lambda: not list(folder.iterdir()))  # closed tabs leave nothing behind


def wait_until(holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.1)


def upload(opened, file):
    if not opened.locator("#video-file input[type=file]").count():
        opened.locator("#video-file").get_by_label("Clear").click()
    opened.set_input_files("#video-file input[type=file]", file)
    opened.locator("#video-message", has_text="Press Analyse").wait_for()


def analyze(opened):
    opened.click("#analyse")
    opened.locator("#video-message", has_text="Done.").wait_for()
    opened.locator("#line .main-svg").first.wait_for()


@browser_test
def test_video(tab, shelf, tmp_path):
    opened = tab()
    upload(opened, shelf / "sample.mp4")
    analyze(opened)
    opened.wait_for_function("document.querySelector('#annotated video')?.duration > 1.5")
    at = "document.querySelector('#annotated video').currentTime"

    # A click on the line moves the video there, and so do the keys and the mark.
    plot = opened.locator("#line .nsewdrag").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    opened.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + box["height"] / 2)
    opened.wait_for_function(f"{at} > 1.2")
    assert opened.evaluate(at) < 1.8
    assert opened.locator("#playhead").is_visible()
    slider = opened.get_by_role("slider", name=re.compile("Valence over time"))
    slider.press("Home")
    opened.wait_for_function(f"{at} < 0.01")
    slider.press("ArrowRight")
    opened.wait_for_function(f"Math.abs({at} - 0.5) < 0.1")

    summary = opened.inner_text("#video-summary")
    assert "mean" in summary and "not what a person feels" in summary
    for button, name, start in (
        ("#csv", "valence.csv", "frame,time_s,face_id"),
        ("#report", "valence.html", "<"),
    ):
        with opened.expect_download() as download:
            opened.click(button)
        assert download.value.suggested_filename == name
        download.value.save_as(tmp_path / name)
        assert (tmp_path / name).read_text().startswith(start)
    assert len((tmp_path / "valence.csv").read_text().splitlines()) == 1 + 30


@browser_test
def test_a_second_video_is_shown_and_other_settings_take_results_away(tab, shelf, tmp_path):
    longer = tmp_path / "longer"
    longer.mkdir()
    write_video(longer, seed=7, seconds=2.8)
    opened = tab()
    length = "document.querySelector('#annotated video')?.duration"
    for file, seconds in ((shelf / "sample.mp4", 2.0), (longer / "sample.mp4", 2.8)):
        upload(opened, file)
        analyze(opened)
        opened.wait_for_function(f"Math.abs({length} - {seconds}) < 0.2")
    opened.get_by_label("Smoothing, seconds (0 = off)").first.fill("1")
    opened.locator("#video-message", has_text="settings changed").wait_for()
    assert opened.locator("#annotated video").count() == 0
    assert opened.inner_text("#video-summary").strip() == ""
    assert opened.locator("#csv").is_disabled()


@browser_test
def test_stop_keeps_what_was_analyzed(tab, shelf, monkeypatch):
    process = sessions.AnnotatedVideo.add

    def slow(self, frame, faces):
        time.sleep(0.25)
        process(self, frame, faces)

    monkeypatch.setattr(sessions.AnnotatedVideo, "add", slow)
    opened = tab()
    upload(opened, shelf / "sample.mp4")
    opened.click("#analyse")
    opened.locator("#video-message", has_text="Frame").wait_for()
    opened.click("#stop")
    opened.locator("#video-message", has_text="Stopped; this is what was analyzed").wait_for()
    opened.locator("#line .main-svg").first.wait_for()
    assert "mean" in opened.inner_text("#video-summary")


@browser_test
def test_webcam(tab, server):
    opened = tab(permissions=["camera"])
    opened.get_by_role("tab", name="Webcam").click()
    opened.get_by_text("Access Webcam").click()
    opened.get_by_role("button", name="Start or stop the line").click()
    drawn = (
        "[...document.querySelectorAll('#live-line path')].map(p => p.getAttribute('d')).join('')"
    )
    opened.wait_for_function(f"{drawn}.length > 40")  # some points ...
    first = opened.evaluate(drawn)
    opened.wait_for_function(f"{drawn}.length > {len(first) + 20}")  # ... and more of them
    points = re.findall(r"[\d.]+,([\d.]+)", opened.evaluate(drawn))
    assert len(set(points)) > 1  # the line follows the face
    opened.locator("#boxes-shown rect").first.wait_for(state="attached")
    assert re.search(r"One face: it looks \w+, [+-]\d", opened.inner_text("#live-message"))
    files = [path for path in server[1].rglob("*") if path.is_file()]
    assert files == []  # no image of the camera is written


@browser_test
def test_webcam_and_images_show_intensities(tab, shelf):
    opened = tab(permissions=["camera"])
    opened.get_by_label("Model").click()
    opened.get_by_role("option", name=re.compile("^ferplus-7-vgg .*intensities")).click()
    opened.get_by_role("tab", name="Images").click()
    opened.set_input_files("#image-files input[type=file]", [shelf / "portrait.png"])
    strengths = opened.locator("#images table", has_text="How strong each is").locator("td")
    strengths.first.wait_for()
    values = [float(text) for text in strengths.all_inner_texts() if text.strip()]
    assert len(values) == 7 and min(values) >= 0 and max(values) <= 1
    opened.get_by_role("tab", name="Webcam").click()
    opened.get_by_text("Access Webcam").click()
    opened.get_by_role("button", name="Start or stop the line").click()
    bars = opened.locator("#live-line table.bars", has_text="Face 1")
    bars.first.wait_for()
    assert bars.first.locator("tr").count() == 7


@browser_test
def test_images_and_bad_input(tab, shelf):
    opened = tab()
    opened.set_input_files("#video-file input[type=file]", shelf / "text.mp4")
    error = opened.locator("#video-message .error")
    error.wait_for()
    assert re.match(r"text\.mp4 is no video that can be read", error.inner_text())
    opened.click("#analyse")
    opened.wait_for_timeout(500)
    error.wait_for()
    assert "Traceback" not in opened.content() and "/store" not in error.inner_text()

    opened.get_by_role("tab", name="Images").click()
    files = [shelf / name for name in ("portrait.png", "plain.png", "broken.png")]
    opened.set_input_files("#image-files input[type=file]", files)
    opened.locator("#images figure").nth(1).wait_for()
    first, second = opened.locator("#images figure").all()
    assert first.locator("rect").count() == 2  # one box, white under colour
    shares = [int(cell.split()[0]) for cell in first.locator("td:last-child").all_inner_texts()]
    assert len(shares) == 7 and 96 <= sum(shares) <= 104
    assert "looks" in first.locator("img").get_attribute("alt")
    assert "no face was found" in second.inner_text()
    assert "broken.png is not an image" in opened.inner_text("#image-message")


@browser_test
def test_limits(tab, shelf, tmp_path):
    opened = tab()
    write_video(tmp_path, seed=7, seconds=4)
    opened.set_input_files("#video-file input[type=file]", tmp_path / "sample.mp4")
    error = opened.locator("#video-message .error")
    error.wait_for()
    assert "sample.mp4 is longer than 0.05 minutes" in error.inner_text()
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(1_100_000))
    opened.locator("#video-file button[aria-label=Clear]").click()
    opened.set_input_files("#video-file input[type=file]", large)
    opened.get_by_text("exceed the maximum allowed size").first.wait_for()


@browser_test
def test_two_tabs_and_a_dark_phone(tab, shelf, server):
    # The same bytes uploaded in both: what one tab deletes, the other still has.
    one = tab()
    two = tab(viewport={"width": 400, "height": 800}, color_scheme="dark")
    for opened in (one, two):
        upload(opened, shelf / "sample.mp4")
    one.context.close()
    wait_until(lambda: len(list(server[1].glob("session-*"))) == 1)
    analyze(two)
    assert two.evaluate("document.documentElement.scrollWidth") <= 400  # nothing sticks out
    dark = two.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", dark)[:3])) < 150


# ---------------------------------------------------------------------------- without a browser


def test_a_port_that_is_taken_is_one_sentence():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = CliRunner().invoke(app, ["app", "--no-browser", "--port", str(port)])
    assert result.exit_code == USER_ERROR
    assert re.match(rf"Error: port {port} .*--port {port + 1}\.\n$", result.output)


def test_an_unknown_detector_is_one_sentence():
    result = CliRunner().invoke(app, ["app", "--no-browser", "--port", "1", "--detector", "no"])
    assert result.exit_code == USER_ERROR and "no" in result.output


def seen(value, face_id=1):
    return observation([0.2, 0.3, 0.5], face_id, value=value)


def test_the_live_line_has_gaps_where_no_face_was_seen():
    history = [(0.0, [seen(0.5)]), (0.1, [seen(0.5)]), (0.2, []), (0.3, [seen(-1)]), (9, [seen(1)])]
    drawn = re.search(r'<path d="([^"]*)"', page.live_line(history, 9.0)).group(1)
    assert [mark for mark in drawn if mark in "ML"] == ["M", "L", "M", "M"]
    heights = [float(point.split(",")[1]) for point in re.split("[ML]", drawn)[1:]]
    assert heights[3] < heights[0] < heights[2]  # +1 on top, -1 at the bottom


def test_each_face_has_its_line_and_the_past_leaves_the_drawing():
    history = [(0.0, [seen(0, 3)]), (40.0, [seen(0.1), seen(0.2, 2)])]
    drawn = page.live_line(history, 40.0)
    assert drawn.count("<path") == 2
    assert "2 faces: face 1 looks positive, +0.10" in drawn


def test_messages_are_text_never_markup():
    message = page.message("<img src=x>.mp4 is no video\nsecond", "error")
    assert "<img" not in message and message.count("<p>") == 2
    image = page.image(np.zeros((9, 9, 3), np.uint8), [], '"><script>', "")
    assert "<script>" not in image


def test_a_store_deletes_what_no_session_needs(tmp_path):
    store = SessionStore(tmp_path / "store", Limits())
    store.folder.mkdir()
    shared = store.folder / "hash" / "video.mp4"
    shared.parent.mkdir()
    shared.write_text("video")
    for name in ("one", "two"):
        store.keep_only(name, [shared])
        (store.session(name).folder / "1").mkdir()
        (store.session(name).folder / "1" / "valence.csv").write_text("line")
    first = store.session("one")
    store.close("one")
    assert first.stop.is_set() and not first.folder.exists()
    assert shared.exists() and (store.session("two").folder / "1" / "valence.csv").exists()
    store.keep_only("two", [])
    assert not shared.exists() and list(store.session("two").folder.iterdir()) == []
    store.close_all()
    assert not store.folder.exists()


def test_uploads_that_no_session_uses_are_swept(tmp_path):
    store = SessionStore(tmp_path / "store", Limits())
    for name in ("used", "stray"):
        (store.folder / name).mkdir(parents=True)
        (store.folder / name / "video.mp4").write_text("video")
    store.keep_only("one", [store.folder / "used" / "video.mp4"])
    store.sweep()  # what has just come may still be taken by a handler
    assert (store.folder / "stray").exists()
    store.sweep(older=-1)
    assert not (store.folder / "stray").exists()
    assert (store.folder / "used" / "video.mp4").exists() and store.session("one").folder.exists()


def test_what_a_killed_server_left_is_removed_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(sessions.tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, alive = tmp_path / f"fer-app-{ended.pid}-x", tmp_path / f"fer-app-{os.getpid()}-y"
    others = tmp_path / "fer-app-of-somebody"
    for folder in (left, alive, others):
        folder.mkdir()
        (folder / "video.mp4").write_text("a person's video")
    new = sessions.new_folder()
    assert not left.exists() and alive.exists() and others.exists()
    assert new.parent == tmp_path.resolve() and list(new.iterdir()) == []


def test_no_address_is_fetched(tmp_path, server):
    from gradio import processing_utils

    for fetch in (processing_utils.ssrf_protected_download, processing_utils.unsafe_download):
        with pytest.raises(ValueError, match="addresses are not fetched"):
            fetch("http://example.com/a.mp4", str(tmp_path))
    for path in ("/gradio_api/file=http://example.com/a.mp4", "/file=HTTPS%3A//example.com/a"):
        assert ask(server[0], path=path) == 403


def test_nothing_of_the_page_names_another_host():
    for text in (page.STYLE, page.SCRIPT, page.INTRO, Path(page.__file__).read_text()):
        assert not re.search(r"https?://|//cdn", text)
