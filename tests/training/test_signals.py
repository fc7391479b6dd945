"""Signals are noted, end an evaluation, and a second one ends the process."""

import os
import signal
import subprocess
import sys

import pytest

from hexjax.training import signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_is_noted_and_ends_an_evaluation_between_shapes_at_the_latest(number):
    with signals.Signals() as noted:
        assert not noted.stopped()
        reached = []
        with noted.evaluating():
            reached.append("before")
            os.kill(os.getpid(), number)
            reached.append("after")
        assert reached == ["before"]
        assert noted.name == number.name
        assert noted.stopped()
        with noted.evaluating():  # what the handler raised was lost, and the evaluation asks
            raise KeyboardInterrupt
    with signals.Signals() as noted, pytest.raises(KeyboardInterrupt), noted.evaluating():
        raise KeyboardInterrupt  # another's
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_signal_sent_twice_at_once_counts_as_one():
    with signals.Signals() as noted:
        for _ in range(5):
            os.kill(os.getpid(), signal.SIGTERM)
        assert noted.name == "SIGTERM"


@pytest.mark.parametrize(("first", "second"), [("SIGINT", "SIGTERM"), ("SIGTERM", "SIGINT"), ("SIGINT", "SIGINT")])
def test_second_signal_ends_the_process_at_once(first, second):
    program = (
        "import os, signal, time; from hexjax.training import signals; signals.AGAIN = 0.01\n"
        f"with signals.Signals():\n os.kill(os.getpid(), signal.{first}); time.sleep(0.05)\n"
        f" os.kill(os.getpid(), signal.{second}); time.sleep(60)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.Signals[second], done.stderr
    assert done.stderr == ""
