"""Stills of every usual kind are read as a person sees them; the others get one sentence."""

import cv2
import numpy as np
import pytest
from PIL import Image

from fer_lib.data.images import read_grey, read_rgb
from fer_lib.errors import UserError
from fer_lib.faces.detection import to_48
from fer_tools.rtfer.image_files import list_images

HEIGHT, WIDTH = 32, 48
RAMP = np.add.outer(3 * np.arange(HEIGHT), 2 * np.arange(WIDTH)).astype(np.uint8)  # 0 to 187


def save(path, array_or_image, **options):
    image = array_or_image
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "pgm", "gif"])
def test_plain_grey_is_exact(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}", RAMP)
    np.testing.assert_array_equal(read_grey(path), RAMP)
    np.testing.assert_array_equal(read_rgb(path), np.repeat(RAMP[..., None], 3, axis=2))


def test_colour_turns_grey_by_luma(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    path = save(tmp_path / "a.png", rgb)
    assert np.abs(read_grey(path) - rgb @ [0.299, 0.587, 0.114]).max() <= 1
    np.testing.assert_array_equal(read_rgb(path), rgb)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_scaled(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    assert cv2.imwrite(str(path), RAMP.astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_grey(path), RAMP)
    np.testing.assert_array_equal(read_rgb(path)[..., 1], RAMP)


def test_16_bit_ends_and_middle(tmp_path):
    values = np.tile(np.array([0, 128, 129, 257, 32768, 65535], dtype=np.uint16), (16, 3))
    path = tmp_path / "a.png"
    assert cv2.imwrite(str(path), values)
    assert read_grey(path)[0, :6].tolist() == [0, 0, 1, 1, 128, 255]


def test_16_bit_colour(tmp_path):
    colour = np.stack([RAMP, RAMP.T.reshape(HEIGHT, WIDTH), 200 - RAMP], axis=2)
    path = tmp_path / "a.png"
    assert cv2.imwrite(str(path), colour[..., ::-1].astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_rgb(path), colour)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_lies_on_white(tmp_path, mode):
    image = Image.fromarray(RAMP).convert(mode)
    alpha = np.full((HEIGHT, WIDTH), 255, dtype=np.uint8)
    alpha[:, :10], alpha[:, 10:20] = 0, 128
    image.putalpha(Image.fromarray(alpha))
    grey = read_grey(save(tmp_path / "a.png", image)).astype(int)
    assert (grey[:, :10] == 255).all()
    half = (RAMP[:, 10:20] * 128.0 + 255 * 127) / 255
    assert np.abs(grey[:, 10:20] - half).max() <= 1
    np.testing.assert_array_equal(grey[:, 20:], RAMP[:, 20:])


def test_palette_with_and_without_transparency(tmp_path):
    palette = Image.fromarray(RAMP // 64).convert("P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    plain = read_rgb(save(tmp_path / "a.png", palette))
    assert plain[0, 0].tolist() == [255, 0, 0] and plain[-1, -1].tolist() == [0, 0, 255]
    clear = read_rgb(save(tmp_path / "b.png", palette, transparency=0))
    assert clear[0, 0].tolist() == [255, 255, 255] and clear[-1, -1].tolist() == [0, 0, 255]


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk(tmp_path, suffix):
    red = np.zeros((HEIGHT, WIDTH, 4), dtype=np.uint8)
    red[..., 1:3] = 255  # magenta and yellow ink
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(red, mode="CMYK"))
    assert Image.open(path).mode == "CMYK"
    assert np.abs(read_rgb(path).astype(int) - [255, 0, 0]).max() <= 3
    assert np.abs(read_grey(path).astype(int) - 76).max() <= 3


def test_black_and_white(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(RAMP > 90))
    np.testing.assert_array_equal(read_grey(path), np.where(RAMP > 90, 255, 0))


# What a camera stores for each EXIF orientation when the upright picture is `a`.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: np.rot90(a),  # shown after a quarter turn clockwise
    7: lambda a: a[::-1, ::-1].T,
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["png", "jpg", "16-bit"])
def test_exif_rotation(tmp_path, orientation, kind):
    stored = np.ascontiguousarray(STORED[orientation](RAMP))
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "16-bit":
        image, name, slack = Image.fromarray(stored.astype(np.uint16) * 257), "a.png", 0
    else:
        image, name, slack = Image.fromarray(stored), f"a.{kind}", 3 if kind == "jpg" else 0
    grey = read_grey(save(tmp_path / name, image, exif=exif))
    assert grey.shape == RAMP.shape
    assert np.abs(grey.astype(int) - RAMP).max() <= slack


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.fromarray(RAMP), Image.fromarray(255 - RAMP)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_grey(tmp_path / "a.gif"), RAMP)


def bad_missing(path):
    pass


def bad_empty(path):
    path.write_bytes(b"")


def bad_text(path):
    path.write_text("not an image")


def bad_truncated(path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    save(path, noise)
    path.write_bytes(path.read_bytes()[:1500])


def bad_one_pixel(path):
    save(path, np.zeros((1, 1), dtype=np.uint8))


def bad_thin(path):
    save(path, np.zeros((400, 3), dtype=np.uint8))


def bad_float(path):
    save(path, np.zeros((32, 32), dtype=np.float32), format="TIFF")


@pytest.mark.parametrize("read", [read_grey, read_rgb])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (bad_missing, "is missing: check"),
        (bad_empty, "is empty .0 bytes.: copy or download it again, or .*"),
        (bad_text, "is not an image that can be read: save it as PNG or JPEG, or .*"),
        (bad_truncated, "is damaged .*: copy or download it again, or .*"),
        (bad_one_pixel, "is only 1x1 pixels: use an image of at least 16x16"),
        (bad_thin, "is only 3x400 pixels: use an image of at least 16x16"),
        (bad_float, "holds floating-point values of unknown range: save it with 8 or 16 bits"),
    ],
)
def test_bad_images_get_one_sentence(tmp_path, read, make, message):
    path = tmp_path / "face.png"
    make(path)
    with pytest.raises(UserError, match=rf"face\.png {message}") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_picture_too_large_to_be_honest(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match=r"face\.png is too large"):
        read_grey(save(tmp_path / "face.png", RAMP))


def test_to_48():
    small = np.full((20, 30), 7, dtype=np.uint8)
    assert to_48(small).shape == (48, 48) and (to_48(small) == 7).all()
    blocks = np.kron(np.arange(48 * 48).reshape(48, 48) % 251, np.ones((2, 2))).astype(np.uint8)
    np.testing.assert_array_equal(to_48(blocks), np.arange(48 * 48).reshape(48, 48) % 251)


def test_list_images(tmp_path):
    for name in ("b/2.PNG", "b/1.jpg", "a.jpeg", ".hidden.png", "notes.txt", ".x/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [str(p.relative_to(tmp_path)) for p in list_images([tmp_path])]
    assert names == ["a.jpeg", "b/1.jpg", "b/2.PNG"]
    odd = tmp_path / "notes.txt"  # named by the user, so it counts
    assert list_images([odd, tmp_path / "b", tmp_path / "b/1.jpg"]) == [
        odd, tmp_path / "b/1.jpg", tmp_path / "b/2.PNG",
    ]  # fmt: skip


def test_list_images_finds_nothing(tmp_path):
    with pytest.raises(UserError, match="nowhere does not exist: check"):
        list_images([tmp_path / "nowhere"])
    with pytest.raises(UserError, match="holds no image: name a folder with"):
        list_images([tmp_path])


def test_other_kinds_closed_folders_and_links_are_told(tmp_path):
    Image.new("L", (20, 20)).save(tmp_path / "a.png")
    (tmp_path / "b.heic").touch()
    (tmp_path / "c.HEIC").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "._a.png").touch()
    (tmp_path / "@eaDir").mkdir()
    Image.new("L", (20, 20)).save(tmp_path / "@eaDir" / "a.png")
    elsewhere = tmp_path.parent / "elsewhere"
    elsewhere.mkdir()
    Image.new("L", (20, 20)).save(elsewhere / "d.jfif", format="JPEG")
    (tmp_path / "link").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(tmp_path)  # leads round
    messages = []
    found = list_images([tmp_path], messages.append)
    assert [path.name for path in found] == ["a.png", "d.jfif"]
    assert messages == [f"{tmp_path}: 2 file(s) left out: 2 .heic; save them as JPEG or PNG."]


def test_faults_of_the_metadata_are_none_of_the_image(tmp_path, monkeypatch):
    grey = np.arange(600, dtype=np.uint8).reshape(20, 30)
    image = Image.fromarray(grey)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_grey(tmp_path / "a.png"), np.rot90(grey, -1))
    monkeypatch.setattr(Image.Image, "getexif", lambda self: 1 / 0)
    np.testing.assert_array_equal(read_grey(tmp_path / "a.png"), grey)


@pytest.mark.parametrize("error", [RuntimeError("x"), NotImplementedError("x"), MemoryError()])
def test_whatever_a_plugin_raises_is_one_sentence(tmp_path, monkeypatch, error):
    Image.new("L", (20, 20)).save(tmp_path / "a.png")

    def load(self):
        raise error

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    with pytest.raises(UserError, match=r"a\.png is (damaged|too large)"):
        read_grey(tmp_path / "a.png")


def test_an_image_of_too_many_pixels_is_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr("fer_lib.data.images.MOST_PIXELS", 300)
    Image.new("L", (20, 20)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png is too large \(20x20 pixels, 300 at most\)"):
        read_grey(tmp_path / "a.png")
