"""What the tables' columns mean is written down, beside them and in docs/."""

from pathlib import Path

import pandas as pd
from videos import FakeRecognizer

from fer_tools.inference.recognizer import Recognizer, published_weights
from fer_tools.rtfer import columns, images
from fer_tools.rtfer.engine import COLUMNS, INTENSITY_COLUMNS


def named(text):
    """The columns that a text has a row for."""
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name.strip(" `") for row in rows for name in row.split(",")}


def test_the_page_of_docs_is_up_to_date():
    page = Path(__file__).parents[2] / "docs" / "columns.md"
    assert page.read_text(encoding="utf-8") == columns.page()


def test_every_column_of_a_video_is_explained_and_no_other():
    assert named(columns.describe_columns(COLUMNS)) == set(COLUMNS)
    with_intensities = named(columns.describe_columns(COLUMNS + INTENSITY_COLUMNS))
    assert with_intensities == {*COLUMNS, "emotion", "intensity_NAME"}


def test_every_column_of_images_is_explained():
    recognizer = Recognizer.load(published_weights() / "ferplus-7-vgg.safetensors", "cpu")
    names = {
        "p_NAME" if name[:2] == "p_" else "intensity_NAME" if name[:10] == "intensity_" else name
        for name in images.columns(recognizer)
    }
    assert names == named(columns._table(columns.IMAGES, set(columns.IMAGES)))


def test_no_path_becomes_a_formula(tmp_path):
    for text, safe in (("=1+1.png", "'=1+1.png"), ("@a.png", "'@a.png"), ("a=1.png", "a=1.png")):
        assert images._no_formula(text) == safe
    table = pd.DataFrame(columns=images.columns(FakeRecognizer()))
    assert "path" in table
