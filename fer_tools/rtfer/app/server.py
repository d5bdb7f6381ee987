"""The page of `fer app`: a valence line from a video, a webcam or images, in the browser.

The server listens on this machine only (127.0.0.1), asks nothing of the internet, and sends nobody
anything: no analytics, no sharing link, no run history.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from starlette.middleware import Middleware

from fer_lib.data.images import SUFFIXES as IMAGE_SUFFIXES
from fer_lib.errors import UserError
from fer_tools.rtfer.app import page
from fer_tools.rtfer.app.guard import OwnPageOnly, forget_proxies, look_nothing_up
from fer_tools.rtfer.app.sessions import (
    ANNOUNCE_EVERY,
    Closed,
    Limits,
    SessionStore,
    Webcam,
    annotate_video,
    check_video,
    classify_image,
    find_detectors,
    find_models,
    make_engine,
    new_folder,
)
from fer_tools.rtfer.defaults import DETECTOR, SMOOTHING_SECONDS
from fer_tools.rtfer.detectors import find_detector
from fer_tools.rtfer.video_reader import SUFFIXES as VIDEO_SUFFIXES

ADDRESS = "127.0.0.1"
PORT = 7860
CAMERA_EVERY = 0.1  # seconds between two frames that the browser sends
PROGRESS_EVERY = 0.3  # seconds between two moves of the progress bar
MOST_IMAGES = 20
SWEEP_EVERY = 60.0  # seconds between two looks for uploads that no session uses


# ---------------------------------------------------------------------------------------- the page


class Handlers:
    """What the page's controls do; each finds its session by the request."""

    def __init__(self, store: SessionStore) -> None:
        self.store = store

    def check_upload(self, file: str | None, request: gr.Request) -> tuple:
        """A video was uploaded, or removed: give its length, or what is wrong with it.

        The results of an earlier one are taken away.
        """
        paths = [Path(file)] if file else []
        self.store.keep_only(_session(request), paths)
        try:
            message = page.message(check_video(paths[0], self.store.limits)) if paths else ""
        except UserError as error:
            message = _error_message(error, paths)
        return message, *_no_results()

    def analyze_video(
        self, file: str | None, model: str, detector: str, seconds: float,
        request: gr.Request, progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[tuple]:  # fmt: skip
        """Yield message, video, line, its summary, table, report; first that work has begun."""
        session = self.store.session(_session(request))
        nothing = _no_results()
        if not file:
            yield page.message("Choose a video first.", "error"), *nothing
            return
        path = Path(file)
        self.store.keep_only(_session(request), [path])
        session.stop.clear()
        yield page.message(f"Reading {path.name} ..."), *nothing
        try:
            check_video(path, self.store.limits)
            engine = make_engine(model, detector, seconds)
            result = annotate_video(path, session, engine, self.store.limits, _progress(progress))
        except UserError as error:
            yield _error_message(error, [path]), *nothing
        except Closed:
            return
        else:
            downloads = (
                gr.update(value=str(file), interactive=True) for file in (result.csv, result.report)
            )
            yield result.done, str(result.video), result.plot, result.summary, *downloads

    def settings_changed(self, shown: str | None) -> tuple:
        """What is shown was made with other settings: take it away, and say so."""
        if not shown:
            return (gr.skip(),) * 6
        return page.message("The settings changed: press Analyse again."), *_no_results()

    def stop_video(self, request: gr.Request) -> None:
        """End the analysis that runs in this session."""
        self.store.session(_session(request)).stop.set()

    def process_frame(
        self, rgb: np.ndarray | None, model: str, detector: str, seconds: float,
        request: gr.Request,
    ) -> tuple:  # fmt: skip
        """One frame of the camera: the boxes, the line, bars, and now and then a summary."""
        if rgb is None:
            return gr.skip(), gr.skip(), gr.skip()
        now = time.monotonic()
        session = self.store.session(_session(request))
        settings = (model, detector, seconds)
        webcam = session.webcam
        if webcam is None or webcam.settings != settings:
            webcam = session.webcam = Webcam(settings, make_engine(*settings), now)
        time_s = now - webcam.started
        faces = webcam.engine.process_frame(np.ascontiguousarray(rgb), time_s)
        webcam.history.append((time_s, faces))
        summary: Any = gr.skip()
        if time_s - webcam.announced_at >= ANNOUNCE_EVERY:
            webcam.announced_at = time_s
            summary = page.message(page.summarize(faces))
        boxes = page.boxes(faces, rgb.shape[1], rgb.shape[0])
        return boxes, page.live_line(webcam.history, time_s) + page.intensities(faces), summary

    def classify_images(
        self, files: list[str] | None, model: str, detector: str, request: gr.Request
    ) -> tuple[str, str]:
        """Messages, and the images as HTML; one message for each that cannot be read."""
        paths = [Path(file) for file in files or []]
        self.store.session(_session(request)).uploads.update(paths)
        shown, messages = [], []
        for path in paths[:MOST_IMAGES]:
            try:
                shown.append(classify_image(path, model, detector))
            except UserError as error:
                messages.append(_error_message(error, [path]))
        if len(paths) > MOST_IMAGES:
            messages.append(
                page.message(f"Only the first {MOST_IMAGES} images are shown.", "error")
            )
        if shown:
            messages.append(page.message(f"{len(shown)} image(s) read."))
        return "".join(messages), f'<div class="images">{"".join(shown)}</div>'

    def close(self, request: gr.Request) -> None:
        """The tab was closed or reloaded."""
        self.store.close(_session(request))


def _session(request: gr.Request) -> str:
    return str(request.session_hash)


def _no_results() -> tuple:
    """Of video, line, summary, table and report: nothing to show or to download."""
    off = gr.update(value=None, interactive=False)
    return None, None, "", off, off


def _progress(progress: gr.Progress) -> Callable[[int, int], None]:
    """Reports the frames that are done to the progress bar, a few times a second."""
    started = reported = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal reported
        now = time.monotonic()
        if now - reported < PROGRESS_EVERY:
            return
        reported = now
        speed = done / (now - started)
        left = (total - done) / speed
        text = f"Frame {done} of {total}, {speed:.0f} a second, about {left:.0f} seconds left"
        progress(done / total, text)

    return report


def _error_message(error: UserError, paths: list[Path]) -> str:
    """The error's sentence, with the file's name in place of where the upload lies."""
    sentence = str(error).rstrip(".") + "."
    for path in paths:
        sentence = sentence.replace(str(path), path.name)
    return page.message(sentence, "error")


def build(store: SessionStore, model: str | None = None, detector: str = DETECTOR) -> gr.Blocks:
    """The page; `model` and `detector` are chosen at first."""
    do = Handlers(store)
    models, detectors = find_models(model), find_detectors()
    with gr.Blocks(title=page.TITLE, analytics_enabled=False) as blocks:
        gr.Markdown(page.INTRO)
        with gr.Row():
            which = gr.Dropdown(
                list(models.items()),
                value=next(iter(models.values())),
                label="Model",
                min_width=240,
            )
            detector_choice = gr.Radio(
                list(detectors.items()), value=detector, label="Face detector", min_width=200
            )
            smoothing = gr.Slider(
                0, 3, SMOOTHING_SECONDS, step=0.1, label="Smoothing, seconds (0 = off)"
            )
        settings = [which, detector_choice, smoothing]
        with gr.Tab("Video"):
            _video_tab(do, settings)
        with gr.Tab("Webcam"):
            _webcam_tab(do, settings)
        with gr.Tab("Images"):
            _images_tab(do, settings[:2])
        blocks.unload(do.close)
    return blocks


def _video_tab(do: Handlers, settings: list) -> None:
    limits = do.store.limits
    file = gr.File(
        label=f"Video: at most {limits.minutes:g} minutes and {limits.megabytes:g} MB",
        file_types=sorted(VIDEO_SUFFIXES), elem_id="video-file", height=140,
    )  # fmt: skip
    with gr.Row():
        go = gr.Button("Analyse", variant="primary", elem_id="analyse")
        stop = gr.Button("Stop", elem_id="stop")
    message = gr.HTML(elem_id="video-message", elem_classes="message", min_height=64)
    with gr.Row():
        video = gr.Video(
            label="Annotated video",
            elem_id="annotated",
            interactive=False,
            min_width=320,
        )
        line = gr.Plot(
            label="Valence: click the line to see that moment", elem_id="line", min_width=320
        )
    summary = gr.HTML(elem_id="video-summary", elem_classes="message")
    with gr.Row():
        csv = gr.DownloadButton("Download valence.csv", interactive=False, elem_id="csv")
        report = gr.DownloadButton("Download the report", interactive=False, elem_id="report")

    outputs = [message, video, line, summary, csv, report]
    file.change(do.check_upload, file, outputs, show_progress="hidden", api_visibility="private")
    go.click(
        do.analyze_video, [file, *settings], outputs,
        show_progress_on=message, concurrency_limit=2, api_visibility="private",
    )  # fmt: skip
    stop.click(do.stop_video, queue=False, api_visibility="private")
    gr.on(
        [setting.change for setting in settings], do.settings_changed, video, outputs,
        show_progress="hidden", api_visibility="private",
    )  # fmt: skip


def _webcam_tab(do: Handlers, settings: list) -> None:
    with gr.Row():
        camera = gr.Image(
            label="Camera: nothing of it is stored", sources=["webcam"], streaming=True,
            type="numpy", elem_id="camera", min_width=320, buttons=[],
            webcam_options=gr.WebcamOptions(mirror=True, constraints={"video": {"width": 640}}),
        )  # fmt: skip
        with gr.Column(min_width=320):
            line = gr.HTML(page.live_line([], 0.0), elem_id="live-line")
            message = gr.HTML(elem_id="live-message", elem_classes="unseen")
    boxes = gr.HTML(elem_id="boxes")
    camera.stream(
        do.process_frame, [camera, *settings], [boxes, line, message], stream_every=CAMERA_EVERY,
        show_progress="hidden", concurrency_limit=None, api_visibility="private",
    )  # fmt: skip


def _images_tab(do: Handlers, settings: list) -> None:
    files = gr.File(
        label=f"Images: at most {MOST_IMAGES}", file_count="multiple", elem_id="image-files",
        file_types=sorted(IMAGE_SUFFIXES), height=140,
    )  # fmt: skip
    message = gr.HTML(elem_id="image-message", elem_classes="message", min_height=64)
    shown = gr.HTML(elem_id="images")
    gr.on(
        [files.change, *(setting.change for setting in settings)], do.classify_images,
        [files, *settings], [message, shown], concurrency_limit=2, api_visibility="private",
        show_progress_on=message,
    )  # fmt: skip


# -------------------------------------------------------------------------------------- the server


def serve(
    *,
    port: int = PORT,
    model: str | None = None,
    detector: str = DETECTOR,
    limits: Limits = Limits(),  # noqa: B008
    open_browser: bool = True,
) -> None:
    """Serve the page until Ctrl-C, or until the process is signaled to end.

    Args:
        port: on 127.0.0.1.
        model: chosen at first; by default the first that is found.
        detector: "haar" or "yunet", chosen at first.
        limits: of uploads.
        open_browser: show the page in the user's browser.

    Raises:
        UserError: if the port is taken, or the model or detector is not there.
    """
    check_port(port)
    find_detector(detector)
    folder = new_folder()
    store = SessionStore(folder, limits)
    try:
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        blocks = build(store, model, detector)
        launch(blocks, port, limits, open_browser)
        print(f"The page is at http://{ADDRESS}:{port}/ (Ctrl-C ends it).", flush=True)
        _wait(store)
        for session in store.sessions():
            session.closed = True
        blocks.close(verbose=False)
    finally:
        store.close_all()


def launch(blocks: gr.Blocks, port: int, limits: Limits, open_browser: bool) -> None:
    """Start the server and come back; GRADIO_TEMP_DIR must be the store's folder since `build`."""
    forget_proxies()
    look_nothing_up()
    blocks.launch(
        app_kwargs={"middleware": [Middleware(OwnPageOnly, port=port)]},
        server_name=ADDRESS, server_port=port, share=False, inbrowser=open_browser, quiet=True,
        prevent_thread_lock=True, ssr_mode=False, pwa=False, mcp_server=False, inline=False,
        run_history=False, enable_monitoring=False, footer_links=[], show_error=False,
        max_file_size=f"{max(1, round(limits.megabytes))}mb",
        theme=gr.themes.Base(primary_hue="blue", font=["sans-serif"], font_mono=["monospace"]),
        css=page.STYLE, head=page.SCRIPT,
    )  # fmt: skip


def check_port(port: int) -> None:
    """Raises UserError if something else listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError as error:
            raise UserError(
                f"port {port} of {ADDRESS} cannot be used ({error.strerror}): another program, or "
                f"another `fer app`, may have it; name another with --port {port + 1}."
            ) from None


def _wait(store: SessionStore) -> None:
    """Until Ctrl-C, or until the process is asked to end or its terminal is closed."""
    ended = threading.Event()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: ended.set())
    swept = time.monotonic()
    while not ended.wait(0.5):  # in short turns: on Windows a long wait hears no signal
        if time.monotonic() - swept > SWEEP_EVERY:
            swept = time.monotonic()
            store.sweep()
