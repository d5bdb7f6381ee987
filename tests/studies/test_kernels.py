"""Forked kernels: the same notebook as from a new kernel, and no process is left over."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import papermill
import pytest
from imports import ROOT
from jupyter_client.provisioning import local_provisioner
from processes import gone

sys.path.insert(0, str(ROOT / "scripts"))
import kernels

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")

CODE = """\
import os, sys
import numpy as np, torch
from matplotlib import pyplot as plt
print(sys.argv[0].endswith("ipykernel_launcher.py"), os.environ["FER_TEST"], os.getcwd())
print(torch.manual_seed(1).initial_seed(), torch.rand(2), "torch" in sys.modules)
plt.plot(np.arange(3.0))
plt.show()
"""


@pytest.fixture(scope="module")
def server():
    """A server of this process, ready."""
    kernels.start(os.getpid())
    socket = kernels._folder(os.getpid()) / "socket"
    wait_for(socket.exists, 60)
    return os.getpid()


def wait_for(condition, seconds):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def outputs(path, folder):
    """The outputs of the notebook of `CODE`, run in `folder`."""
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)]), path)
    papermill.execute_notebook(
        path, path, kernel_name="python3", progress_bar=False, cwd=folder,
        extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
    )  # fmt: skip
    return nbformat.read(path, as_version=4).cells[0].outputs


def test_a_fork_has_the_outputs_of_a_new_kernel(server, tmp_path, monkeypatch):
    monkeypatch.setenv("FER_TEST", "ä b")
    monkeypatch.chdir(tmp_path)
    fresh = outputs(tmp_path / "fresh.ipynb", tmp_path)
    forked = []

    def fork(command, **options):
        forked.append(kernels.fork(server, command, options["env"]))
        return forked[0]

    monkeypatch.setattr(local_provisioner, "launch_kernel", fork)
    assert outputs(tmp_path / "forked.ipynb", tmp_path) == fresh
    assert {output.output_type for output in fresh} == {"stream", "display_data"}
    assert forked[0].wait() == 0 and gone(forked[0].pid, within=5)


def test_a_fork_ends_with_its_client(server, tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import kernels\n"
        "command = [sys.executable, '-m', 'http.server', '0']\n"
        "print(kernels.fork(int(sys.argv[2]), command, None).pid, flush=True); input()"
    )
    client = subprocess.Popen(
        [sys.executable, "-c", code, str(ROOT / "scripts"), str(server)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    kernel = int(client.stdout.readline())
    assert kernels.runs(kernel)
    client.send_signal(signal.SIGKILL)
    client.wait()
    assert gone(kernel, within=10)


def test_the_server_ends_with_the_process_it_serves():
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    kernels.start(owner.pid)
    folder = kernels._folder(owner.pid)
    assert folder.stat().st_mode & 0o777 == 0o700
    owner.kill()
    owner.wait()
    wait_for(lambda: not folder.exists(), 20)


def test_without_a_server_or_outside_dvc_kernels_start_in_the_ordinary_way(monkeypatch):
    with pytest.raises(OSError, match="No such file"):
        kernels.fork(os.getpid() + 10_000_000, [sys.executable, "-m", "ipykernel_launcher"], None)
    ordinary = local_provisioner.launch_kernel
    kernels.use()
    assert local_provisioner.launch_kernel is ordinary and not Path("/proc/0").exists()
