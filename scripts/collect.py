"""The last stage of a study, `python scripts/collect.py STUDY`: write `build/STUDY/report`."""

import sys

from fer_tools.record.files import collect

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    collect(sys.argv[1])
