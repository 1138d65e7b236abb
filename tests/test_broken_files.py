"""Files that are empty or end early, whose owner is not interested in Python."""

import re

import pytest

from occnet_jax import unreadable
from tests.helpers import fuzz_seeds

# Words of an interpreter or its libraries, not of files.
OF_PYTHON = re.compile(
  r"\b\w*(Error|Exception|Iteration|Warning|NoneType)\b|unpack|pickle[d=]|argument|0x"
  r"|index out|buffer|Expecting|codec|magic|subscriptable|\bEOF\b|attribute|literal"
)
KINDS = [kind for kind in fuzz_seeds.SEEDS if kind not in fuzz_seeds.ABSENT]
# What a sound file of a kind is without the numbers that follow its header.
HEADER = re.compile(rb"end_header\n|DATA \w+\n|\n\n|\nOFF\n|data\n")


def beginnings(content):
  """Nothing, a byte of three sorts, the magic bytes, and the header."""
  yield from (b"", content[:1], b"A", b"\n", content[:8], content[:60], content[:200])
  if header := HEADER.search(content):
    yield content[: header.end()]


@pytest.mark.parametrize("kind", KINDS)
def test_the_beginning_of_a_file_is_refused_in_plain_words(kind, tmp_path):
  path = fuzz_seeds.write_seed(kind, tmp_path)
  content = fuzz_seeds.unwrap(kind, path)
  refused = []
  for beginning in beginnings(content):
    if len(beginning) == len(content) or beginning.endswith(b"}"):
      continue  # whole
    path.write_bytes(fuzz_seeds.wrap(kind, beginning))
    try:
      fuzz_seeds.READERS[kind](path)
    except ValueError as error:
      refused.append(str(error).replace(str(tmp_path), ""))
    else:  # text without its last rows, or a picture without its end, is whole enough
      assert len(beginning) > 8, beginning
  assert len(refused) >= 4
  for message in refused:
    assert not OF_PYTHON.search(message), message
    assert re.match(r"/[\w.]+: ", message), message


@pytest.mark.parametrize(
  ("error", "text"),
  [
    (StopIteration(), unreadable.CUT_OFF),
    (IndexError("list index out of range"), unreadable.CUT_OFF),
    (KeyError("SIZE"), "has no SIZE"),
    (KeyError(7), unreadable.BROKEN),
    (TypeError("'NoneType' object is not subscriptable"), unreadable.BROKEN),
    (AssertionError(), unreadable.BROKEN),
    (ValueError("could not convert string to float: 'x'"), "has 'x' for a number"),
    (ValueError("has no PLY header"), "has no PLY header"),
    (ImportWarning("LibError: LibError: no such tag"), "no such tag"),
  ],
)
def test_errors_of_parsers_are_said_in_words_of_files(error, text, tmp_path):
  path = tmp_path / "a"
  path.write_bytes(b"x")
  assert unreadable.reason(path, error) == text
  path.write_bytes(b"")
  assert unreadable.reason(path, error) == "is empty"
