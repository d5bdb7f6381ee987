"""What holds for all tests: a worker of pytest-xdist computes with one thread.

`uv run pytest` works with as many workers as there are cores (four at most), each on files of its
own. The tests' tensors are small; a second thread for them costs more than it gains.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported, and by subprocesses
