"""Progress bars are for people at a terminal."""

import io

from data_prep.progress import progress_bar


class Terminal(io.StringIO):
  def isatty(self):
    return True


def test_a_bar_is_drawn_on_a_terminal_and_nothing_is_written_to_a_file():
  for stream, has_bar in ((Terminal(), True), (io.StringIO(), False)):
    assert list(progress_bar(range(3), "count", file=stream)) == [0, 1, 2]
    assert ("3/3" in stream.getvalue()) == has_bar
    assert bool(stream.getvalue()) == has_bar
