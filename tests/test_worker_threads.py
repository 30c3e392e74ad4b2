"""Threads that work ahead, and the end of a program that has some."""

import signal
import subprocess
import sys
import time

import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_while_threads_are_waited_for_is_no_traceback() -> None:
    program = (
        "import time\n"
        "from vsalient.workers import Ahead\n"
        "def slow():\n"
        "    time.sleep(2)\n"
        "    yield 1\n"
        "ahead = Ahead(slow(), 1, 'vsalient-slow')\n"
        "print('waits', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"waits\n"
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        _, error = child.communicate(timeout=30)
    assert b"Traceback" not in error and b"KeyboardInterrupt" not in error
