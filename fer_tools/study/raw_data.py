"""A check that the raw data of the paper study is complete."""

from pathlib import Path

from fer_lib.errors import UserError


def check_raw_data(raw: Path, root: Path) -> None:
    """Check that the paper study's data is there, in one of the layouts that can be read.

    Raises:
        UserError: naming everything that is missing, and the page that explains how to get it.
    """
    fer2013, ckplus = raw / "fer2013", raw / "ckplus"
    missing = []
    if not (fer2013 / "fer2013.csv").is_file() and not all(
        (fer2013 / part).is_dir() for part in ("train", "test")
    ):
        missing.append(
            f"FER2013 ({fer2013 / 'fer2013.csv'}, or the folders train and test in there)"
        )
    if not (ckplus / "CK+48").is_dir() and not (ckplus / "cohn-kanade-images").is_dir():
        missing.append(f"CK+ ({ckplus / 'CK+48'}, or {ckplus / 'cohn-kanade-images'} with Emotion)")
    # Videos and other collections are optional, but DVC requires the folders that stages depend on.
    for name in ("video", "other"):
        (raw / name).mkdir(parents=True, exist_ok=True)
    if missing:
        raise UserError(
            f"The paper study lacks {' and '.join(missing)}: {root / 'data' / 'README.md'} "
            "explains where to get it and where to put it; `fer study sample` needs no data."
        )
