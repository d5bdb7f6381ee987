"""What the app's page is made of: its texts, style, script, and the small drawings in it.

Everything here is a string of HTML that stands alone: no file is written and none is fetched.
Colours are the page's own text colour, or have enough contrast on white and on black alike.
"""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fer_lib.labels import FER_CLASSES
from fer_tools.rtfer.html_report import START

if TYPE_CHECKING:
    from fer_tools.rtfer.engine import FaceObservation

WINDOW = 30.0  # seconds of the live line
GAP = 3.0  # seconds without a frame that break the live line
SHOWN = 1280  # pixels: the longer side of an image in the page
CAVEAT = (
    "A face is not a feeling: the line says how a face looks to a network, not what the person "
    "feels."
)
TITLE = "Valence line"
INTRO = f"""
# {TITLE}
From -1, the face looks negative, to +1, it looks positive. **{CAVEAT}**
All is computed on this machine. Videos, images and results are kept in a temporary folder until
you close this tab; what you want to keep, download.
"""
# Colour-blind safe (Wong 2011), each at least 3:1 on white and on the dark page.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#b8539b", "#8a7a00", "#5a7d9a")

STYLE = """
:root { --font: system-ui, sans-serif; --font-mono: ui-monospace, monospace; }
.gradio-container { max-width: 1200px !important; margin: auto; }
#video-message > .html-container, #image-message > .html-container { min-height: 64px !important; }
.unseen { position: absolute !important; width: 1px; height: 1px; overflow: hidden !important;
  clip-path: inset(50%); }
.now { padding: .5em 0; min-height: 3.5em; }
.message p { margin: 0 0 .5em; max-width: 75ch; }
.message .error { border-left: 4px solid #d55e00; padding: .4em .8em; font-weight: 600; }
.message button { font: inherit; color: inherit; text-align: left; padding: .3em .7em; margin: .15em;
  border: 1px solid currentColor; border-radius: 6px; background: none; cursor: pointer; }
.message button:hover { background: color-mix(in srgb, currentColor 12%, transparent); }
:focus-visible { outline: 3px solid #0072b2 !important; outline-offset: 2px; }
.dark :focus-visible { outline-color: #56b4e9 !important; }
#line { position: relative; }
#annotated video { max-height: 450px; }
#line .js-plotly-plot { cursor: pointer; }
#line .main-svg, #line .bg { background: none !important; }
#line .bg { fill-opacity: 0 !important; }
#line text { fill: var(--body-text-color) !important; }
#line .gridlayer path, #line .zerolinelayer path { stroke: var(--border-color-primary) !important; }
#line .hoverlayer text { fill: #fff !important; }
#line .hoverlayer path { fill: #333 !important; fill-opacity: .95 !important; }
#playhead { position: absolute; width: 0; border-left: 2px solid var(--body-text-color);
  pointer-events: none; display: none; }
.live-line { width: 100%; height: auto; display: block; color: var(--body-text-color); }
.live-line text { fill: currentColor; font-size: 15px; }
@media (max-width: 640px) { .live-line text { font-size: 25px; } }
#camera { position: relative; }
#boxes-shown { position: absolute; pointer-events: none; z-index: 2; }
#boxes-shown svg { width: 100%; height: 100%; display: block; }
#boxes { display: none; }
.images { display: grid; gap: 1.5em; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); }
.images figure { margin: 0; }
.boxed { position: relative; display: inline-block; max-width: 100%; }
.boxed img { display: block; max-width: 100%; max-height: 480px; margin: 0; }
.boxed svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.bars { border-collapse: collapse; width: 100%; margin: .3em 0 1em; }
.bars caption { text-align: left; font-weight: 600; padding: .3em 0; }
.bars th { text-align: left; font-weight: 400; width: 6em; padding: 1px 8px 1px 0; }
.bars td { padding: 1px 0; }
.bars, .bars tr, .bars th, .bars td { border: 0 !important; }
.bars td:last-child { width: 3.5em; text-align: right; font-variant-numeric: tabular-nums; }
.bars i { display: block; height: .9em; background: #0072b2; border-radius: 2px; min-width: 1px; }
.dark .bars i { background: #56b4e9; }
"""  # noqa: E501

# A click on the line, or on a moment that is listed, moves the video there; a mark on the line
# shows where the video is; the line's axis counts milliseconds from START. The boxes of live
# faces are laid over the camera's image.
SCRIPT = """
<script>
(() => {
  const annotated = () => document.querySelector("#annotated video");
  const plot = () => document.querySelector("#line .js-plotly-plot");
  const axis = () => plot()?._fullLayout?.xaxis;
  const jump = (seconds) => {
    const video = annotated();
    if (!video) return;
    const end = Number.isFinite(video.duration) ? video.duration : seconds;
    video.currentTime = Math.max(0, Math.min(seconds, end));
    mark();
  };
  const mark = () => {
    const line = plot(), video = annotated(), x = axis();
    if (!line || !video || !x) return;
    let head = document.getElementById("playhead");
    if (!head || head.parentNode !== line) {
      head?.remove();
      head = Object.assign(document.createElement("div"), {id: "playhead"});
      line.style.position = "relative";
      line.append(head);
    }
    const place = x.l2p(START + 1000 * video.currentTime), size = line._fullLayout._size;
    head.style.display = place < 0 || place > x._length ? "none" : "block";
    head.style.left = `${x._offset + place}px`;
    head.style.top = `${size.t}px`;
    head.style.height = `${size.h}px`;
    line.setAttribute("aria-valuenow", video.currentTime.toFixed(1));
    line.setAttribute("aria-valuetext", `${video.currentTime.toFixed(1)} seconds`);
  };
  document.addEventListener("click", (event) => {
    const moment = event.target.closest("[data-seconds]");
    if (moment) return jump(Number(moment.dataset.seconds));
    const line = plot(), x = axis();
    if (!line?.contains(event.target) || !event.target.classList.contains("drag") || !x) return;
    const place = event.clientX - line.getBoundingClientRect().left - x._offset;
    jump((x.p2l(place) - START) / 1000);
  });
  document.addEventListener("keydown", (event) => {
    const steps = {ArrowLeft: -0.5, ArrowRight: 0.5, PageDown: -5, PageUp: 5};
    if (event.target !== plot() || !annotated()) return;
    if (event.key in steps) jump(annotated().currentTime + steps[event.key]);
    else if (event.key === "Home") jump(0);
    else if (event.key === "End") jump(annotated().duration);
    else return;
    event.preventDefault();
  });
  for (const moved of ["timeupdate", "seeked", "loadedmetadata"])
    document.addEventListener(moved, (event) => event.target === annotated() && mark(), true);
  window.addEventListener("resize", () => setTimeout(mark, 300));

  const name = (selector, attributes) => {
    for (const element of document.querySelectorAll(selector))
      for (const [key, value] of Object.entries(attributes))
        if (element.getAttribute(key) !== value) element.setAttribute(key, value);
  };
  let fading = 0;
  const overlay = () => {
    const from = document.getElementById("boxes"), video = document.querySelector("#camera video");
    if (!from || !video) return;
    let shown = document.getElementById("boxes-shown");
    if (!shown) shown = Object.assign(document.createElement("div"), {id: "boxes-shown"});
    if (shown.parentNode !== video.parentNode) video.parentNode.append(shown);
    const drawn = from.querySelector("svg");
    if (!drawn) { shown.replaceChildren(); return; }
    if (shown.dataset.drawn === drawn.outerHTML) return;
    shown.dataset.drawn = drawn.outerHTML;
    shown.replaceChildren(drawn.cloneNode(true));
    clearTimeout(fading);  // boxes of a stopped camera do not stay
    fading = setTimeout(() => {  // nor does messages about them
      shown.replaceChildren();
      document.querySelectorAll("#live-line .now, #live-message .info")
        .forEach((element) => element.replaceChildren());
    }, 3000);
    Object.assign(shown.style, {left: `${video.offsetLeft}px`, top: `${video.offsetTop}px`,
      width: `${video.offsetWidth}px`, height: `${video.offsetHeight}px`});
  };
  const refresh = () => {
    name(":is(#video-message, #image-message, #live-message) > .html-container",
      {role: "status", "aria-live": "polite"});
    name("#annotated video", {"aria-label": "The video with faces boxed and the line so far"});
    name("#camera .capture-button", {"aria-label": "Start or stop the line"});
    for (const label of document.querySelectorAll("#camera .icon-with-text")) {
      const text = label.lastChild;  // nothing is recorded, so the button shall not say so
      if (text?.nodeType === Node.TEXT_NODE && text.data.trim() === "Record") text.data = " Start";
    }
    name("#camera video", {"aria-label": "Image of your camera, seen by you alone"});
    name("#line .js-plotly-plot", {tabindex: "0", role: "slider", "aria-valuemin": "0",
      "aria-label": "Valence over time. Arrow keys move the video by half a second."});
    overlay();
  };
  new MutationObserver(refresh).observe(document.documentElement, {childList: true, subtree: true});
})();
</script>
""".replace("START", str(START))


def message(text: str, kind: str = "info") -> str:
    """Plain text as HTML; `kind` is "info" or "error"."""
    paragraphs = "".join(f"<p>{escape(part)}</p>" for part in text.split("\n") if part.strip())
    return f'<div class="{escape(kind)}">{paragraphs}</div>'


def moments(change_points: Sequence[dict]) -> str:
    """Buttons that move the video to where the line turns.

    Args:
        change_points: as in `session.describe`: time_s in seconds, before and after in [-1, 1].
    """
    if not change_points:
        return ""
    buttons = "".join(
        f'<button type="button" data-seconds="{point["time_s"]:.2f}">{point["time_s"]:.1f} s: '
        f"from {point['before']:+.2f} to {point['after']:+.2f}</button>"
        for point in change_points
    )
    return f"<p>The line turns at these moments; press one to see it:</p><p>{buttons}</p>"


def live_line(history: Iterable[tuple[float, Sequence["FaceObservation"]]], now: float) -> str:
    """The last `WINDOW` seconds as a drawing, one line a face; broken where no face was seen.

    Args:
        history: (seconds, faces) of each frame, in order of time.
        now: seconds; the drawing's right edge.
    """
    left, right, top, bottom = 44, 612, 12, 212
    start = max(0.0, now - WINDOW)

    def place(time: float, value: float) -> str:
        x = left + (time - start) / WINDOW * (right - left)
        return f"{x:.1f},{top + (1 - value) / 2 * (bottom - top):.1f}"

    frames = [(time, faces) for time, faces in history if time >= start]
    face_ids = sorted({face.face_id for _, faces in frames for face in faces})
    paths = []
    for face_id in face_ids:
        last, drawn = -np.inf, []
        for time, faces in frames:
            value = next((face.smooth for face in faces if face.face_id == face_id), None)
            if value is None:
                last = -np.inf
            else:
                pen = "L" if time - last < GAP else "M"
                drawn.append(f"{pen}{place(time, value)}")
                last = time
        color = PALETTE[(face_id - 1) % len(PALETTE)]
        paths.append(
            f'<path d="{"".join(drawn)}" fill="none" stroke="{color}" stroke-width="3" '
            'stroke-linejoin="round" stroke-linecap="round"/>'
        )
    levels = "".join(
        f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" stroke="currentColor" '
        f'stroke-opacity=".3"/><text x="{left - 8}" y="{y + 6}" text-anchor="end">{name}</text>'
        for y, name in ((top, "+1"), ((top + bottom) / 2, "0"), (bottom, "-1"))
    )
    levels += f'<text x="{left + 6}" y="{top + 24}">positive \u2191</text>'
    levels += f'<text x="{left + 6}" y="{bottom - 10}">negative \u2193</text>'
    ticks = "".join(
        f'<text x="{left + second / WINDOW * (right - left):.0f}" y="{bottom + 28}" '
        f'text-anchor="middle">{start + second:.0f} s</text>'
        for second in range(0, int(WINDOW) + 1, 10)
    )
    summary = summarize(frames[-1][1]) if frames else "Switch the camera on, then press Start."
    return (
        f'<svg class="live-line" viewBox="0 0 640 250" role="img" '
        f'aria-label="Valence of the last {WINDOW:.0f} seconds">'
        f"{levels}{ticks}{''.join(paths)}</svg>"
        f'<p class="now" aria-hidden="true">{escape(summary)}</p>'
    )


def summarize(faces: Sequence["FaceObservation"]) -> str:
    """What is predicted for this very frame, not smoothed: `One face: it looks positive, +0.42.`"""
    if not faces:
        return "No face is seen."
    looks = [f"looks {face.state}, {face.valence:+.2f}" for face in faces]
    if len(faces) == 1:
        return f"One face: it {looks[0]}."
    named = (
        f"face {face.face_id} {appearance}" for face, appearance in zip(faces, looks, strict=True)
    )
    return f"{len(faces)} faces: {'; '.join(named)}."


def boxes(faces: Sequence["FaceObservation"], width: int, height: int) -> str:
    """The faces' boxes as a drawing of the frame's shape, to be laid over it."""
    drawn = []
    for face in faces:
        x, y, w, h = face.box
        color = PALETTE[(face.face_id - 1) % len(PALETTE)]
        size = max(14, height // 22)
        for pen, line in (("#fff", 6), (color, 3)):  # white under colour: seen on any ground
            drawn.append(
                f'<rect x="{x}" y="{y}" width="{w}" height="{h}" fill="none" stroke="{pen}" '
                f'stroke-width="{line}"/>'
            )
        drawn.append(
            f'<text x="{x}" y="{max(size, y - 8)}" font-size="{size}" font-weight="600" '
            f'fill="#fff" stroke="#000" stroke-width="4" paint-order="stroke">'
            f"{face.face_id}: {face.smooth:+.2f}</text>"
        )
    return (
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="xMidYMid meet" '
        f'aria-hidden="true">{"".join(drawn)}</svg>'
    )


def intensities(faces: Sequence["FaceObservation"]) -> str:
    """Seven bars for each face of this frame; nothing where the model gives no intensities."""
    return "".join(
        bars(
            f"Face {face.face_id}: {face.emotion}; strength from 0 to 1",
            FER_CLASSES,
            face.intensities,
            percent=False,
        )
        for face in faces
        if face.intensities is not None
    )


def bars(
    title: str, classes: Sequence[str], values: Sequence[float] | np.ndarray, percent: bool = True
) -> str:
    """A table of numbers in [0, 1] with a bar each, as percentages or with two digits."""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td><i style="width:{100 * value:.1f}%"></i></td>'
        f"<td>{f'{100 * value:.0f} %' if percent else f'{value:.2f}'}</td></tr>"
        for name, value in zip(classes, values, strict=True)
    )
    return f'<table class="bars"><caption>{escape(title)}</caption><tbody>{rows}</tbody></table>'


def image(rgb: np.ndarray, faces: Sequence["FaceObservation"], alt: str, below: str) -> str:
    """An image inside the page itself, (H, W, 3) uint8, its faces boxed, with HTML below it."""
    height, width = rgb.shape[:2]
    scale = min(1.0, SHOWN / max(height, width))
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    assert done  # memory apart, nothing can fail here
    source = base64.b64encode(data.tobytes()).decode()
    return (
        f'<figure><div class="boxed"><img alt="{escape(alt)}" '
        f'src="data:image/jpeg;base64,{source}">{boxes(faces, width, height)}</div>'
        f"<figcaption>{below}</figcaption></figure>"
    )
