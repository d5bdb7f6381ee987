"""The field's terms: none of the words that they replaced is left in the files listed here.

A student should find every term in papers and libraries. `WORDS` maps each old word, in the sense
in which it was used, to the terms that replaced it; `NAMES` lists names that do not state what
they hold. To cover another folder, add it to `PLACES`.
"""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from imports import ROOT

PLACES = (
    "CONTRIBUTING.md", "README.md", "course", "data/README.md", "docs", "dvc.yaml", "fer_lib",
    "fer_tools", "notebooks", "params.yaml", "scripts", "studies", "tests/studies", "tests/tools",
)  # fmt: skip
TEXT = {".cff", ".css", ".html", ".ipynb", ".js", ".md", ".py", ".toml", ".txt", ".yaml", ".yml"}

# Regular expressions, without regard to case.
WORDS = {
    r"told|tells?|telling": "report, state, show, distinguish",
    r"said": "message, predicted",
    r"networks? (says?|answers?)|what the (network|teachers?) says?": "predictions, probabilities",
    r"say together": "ensemble, soft targets",
    r"spots?|spotted": "detect, process_frame",
    r"films?|filmed": "video",
    r"pictures?|stills|a still": "image",
    r"numbers_of": "weights, random draws",
    r"as_used|as used|anew": "recalibrated (precise BN); again",
    r"eight bits?|eight[-_]bits?": "quantization, int8 codes",
    r"recorders?|_?GraphedTake": "CUDA graph, GraphedStep",
    r"forgotten|spoil(t|ed)|strange": "re-initialized, degraded, out of distribution",
    r"surest|rightly|wrongly": "most confident errors, correctly classified",
    r"less (the )?targets?|off by": "prediction minus target, error",
    r"by lot|luck|lucky": "by chance, variance over seeds",
    r"mirror images?": "horizontal flip, test-time augmentation",
    r"soften(ed|s)?": "blurred at test time",
    r"by persons?|by_persons?": "by subject",
    r"small_epochs|small_side": "low_res_epochs, low_res_size",
    r"price of|prices?": "penalty, cost",
    r"desks?": "session store, client session",
    r"majority": "plurality, unless it is more than half",
    r"commonest|seldom|heaps?|mend(s|ed)?|mimics?": "most frequent, rarely, cluster, correct, ...",
}
SPACE = re.compile(r"[\s#]+")  # between words, also over the lines of a comment
START, END = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"  # of a word, also within a name_with_words
# Names in Python that do not state what they hold.
NAMES = {
    "how", "look", "mine", "numbers", "one", "ours", "own", "picture", "rest", "said", "say",
    "tell", "theirs", "told", "way",
}  # fmt: skip

ABOVE_HALF = "more than half of the votes is meant"
# By file and word: why the word is right there.
EXCEPTIONS = {
    ("course/checks/exercise_06.py", "majority"): ABOVE_HALF,
    ("course/unit-6.md", "majority"): ABOVE_HALF,
    ("data/README.md", "majority"): ABOVE_HALF,
    ("README.md", "majority"): ABOVE_HALF,
    ("docs/data_ferplus.md", "majority"): ABOVE_HALF,
    ("fer_lib/data/audit.py", "majority"): ABOVE_HALF,
    ("fer_lib/data/ferplus.py", "majority"): ABOVE_HALF,
    ("notebooks/10_data.ipynb", "majority"): ABOVE_HALF,
    ("notebooks/40_evaluate_fer13.ipynb", "majority"): ABOVE_HALF,
    ("notebooks/46_evaluate_intensity.ipynb", "majority"): ABOVE_HALF,
    ("notebooks/60_error_gallery.ipynb", "majority"): ABOVE_HALF,
    ("notebooks/65_label_noise.ipynb", "majority"): ABOVE_HALF,
    ("notebooks/80_report.ipynb", "majority"): ABOVE_HALF,
    ("fer_tools/record/report.py", "majority"): ABOVE_HALF,  # FER+'s own rule, a figure's key
    ("tests/studies/test_real_data.py", "majority"): ABOVE_HALF,
}


def tracked() -> list[str]:
    """The text files under `PLACES` that git tracks, relative to the root."""
    command = ["git", "ls-files", "-z", "--", *PLACES]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    this = Path(__file__).relative_to(ROOT).as_posix()
    return [name for name in listed.split("\0") if Path(name).suffix in TEXT and name != this]


def old_words(text: str) -> Iterator[tuple[int, str, str]]:
    """The old words in a text: line, word and the terms that replace it."""
    for word, terms in WORDS.items():
        pattern = word.replace(" ", SPACE.pattern)
        for match in re.finditer(rf"{START}(?:{pattern}){END}", text, re.IGNORECASE):
            yield text.count("\n", 0, match.start()) + 1, SPACE.sub(" ", match[0]), terms


def old_names(code: str) -> Iterator[tuple[int, str, str]]:
    """The names of `NAMES` that Python code defines, in the form of `old_words`."""
    for node in ast.walk(ast.parse(code)):
        name = ""
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = node.id
        elif isinstance(node, ast.arg):
            name = node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = node.name
        if name.strip("_").lower() in NAMES:
            yield getattr(node, "lineno", 0), name, "a name that states what it holds"


@pytest.mark.parametrize("name", tracked())
def test_files_use_the_fields_terms(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    found = [*old_words(text), *(old_names(text) if name.endswith(".py") else ())]
    left = [
        f"{name}:{line}: {word!r}; instead: {terms}"
        for line, word, terms in found
        if (name, word.lower()) not in EXCEPTIONS
    ]
    assert not left, "\n".join(left)


def test_every_exception_is_needed():
    for name, word in EXCEPTIONS:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert word in {found.lower() for _, found, _ in old_words(text)}, (name, word)


def test_the_search_finds_words_and_names():
    text = "# It was off\n# by 2: films, as_used, by person, eight-bit; filming and stellar stay."
    found = {word.lower() for _, word, _ in old_words(text)}
    assert found == {"off by", "films", "as_used", "by person", "eight-bit"}
    code = "def f(own):\n    for one in own:\n        rest = one\n"
    names = [(line, name) for line, name, _ in sorted(old_names(code))]
    assert names == [(1, "own"), (2, "one"), (3, "rest")]
