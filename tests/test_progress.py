"""The line of progress: on a terminal it is overwritten and cleared, elsewhere it is a line every few seconds."""

import io

import pytest

from hexjax import pipeline, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves by hand."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def work(stream, clock, seconds, total=4):
    with progress.Line(total, "loading", stream) as line:
        for done in range(1, total + 1):
            clock[0] += seconds
            line.update(done)
            if done == 2:
                line.tell("a line of its own")


def test_short_work_shows_nothing(clock):
    for stream in (io.StringIO(), Terminal()):
        work(stream, clock, 1.0)
        assert stream.getvalue() == "a line of its own\n"


def test_long_work_is_told_every_few_seconds_with_the_time_left(clock):
    stream = io.StringIO()
    work(stream, clock, 4.0)
    assert stream.getvalue().splitlines() == ["loading 2/4  0:08 left", "a line of its own", "loading 4/4  0:00 left"]


def test_a_terminal_keeps_one_line_that_is_cleared(clock):
    stream = Terminal()
    work(stream, clock, 6.0)
    assert stream.getvalue() == (
        "\rloading 1/4\x1b[K\rloading 2/4  0:12 left\x1b[K\r\x1b[Ka line of its own\n"
        "\rloading 3/4  0:06 left\x1b[K\rloading 4/4  0:00 left\x1b[K\r\x1b[K"
    )


def test_a_note_stands_before_the_time_and_a_line_is_never_wider_than_the_terminal(clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "24")
    stream = Terminal()
    line = progress.Line(2000, "evaluating", stream)
    line.update(0)
    clock[0] = 9.0
    line.update(1, "head_0001")
    assert stream.getvalue() == "\revaluating 1/2000  head\x1b[K"


def test_hours_and_minutes():
    assert [progress.clock(seconds) for seconds in (0.0, 59.6, 61.0, 3600.0, 7265.0)] == [
        "0:00", "1:00", "1:01", "1:00:00", "2:01:05",
    ]  # fmt: skip


@pytest.mark.parametrize(("stream", "told"), [(io.StringIO(), "so\n"), (Terminal(), "\r\x1b[Kso\n")])
def test_what_is_told_of_a_shape_takes_the_place_of_the_line(monkeypatch, stream, told):
    monkeypatch.setattr(progress.sys, "stderr", stream)
    pipeline.tell("ball", {"told": ""})
    progress.tell("so")
    assert stream.getvalue() == told
    pipeline.tell("ball", {"told": "no surface"})
    assert stream.getvalue() == told + told.replace("so", "ball: no surface")
