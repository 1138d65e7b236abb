"""What a command line got wrong, in one sentence; output that nobody reads (host)."""

import contextlib
import difflib
import io
import os
import pathlib
import re
import select
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags

# What a user can put right; others are bugs.
USER_ERRORS = (ValueError, FloatingPointError, OSError, MemoryError)
# Characters of a message, and of its end, which says what to do.
MAX_TEXT, MAX_END = 2000, 500
_IN_CONFIG = "Error whilst parsing config file"  # of ml_collections, with a traceback


def check_config(argv: Sequence[str]) -> None:
  """Raises ValueError if --config names a file that does not exist."""
  value = _config_value(argv)
  if value is None:
    return
  path = pathlib.Path(value.split(":", 1)[0])
  if path.is_file():
    return
  directory = path if path.is_dir() else path.parent
  files = sorted(directory.glob("*.py"))
  names = [str(p) for p in files if b"def get_config" in p.read_bytes()]
  close = difflib.get_close_matches(str(path), [] if path.is_dir() else names, n=1)
  hint = f"{close[0]}, or another of: " if close else "one of: "
  choice = f"{hint}{', '.join(names)}" if names else "one of those in configs/"
  state = "is a directory" if value and path.is_dir() else "no such config file"
  raise ValueError(f"--config={value}: {state}; want {choice}")


def to_dict(config: Any) -> dict[str, Any] | None:
  """The nested dicts of a config, None for none.

  Raises:
    ValueError: the value of get_config is no ConfigDict.
  """
  if config is None:
    return None
  if not hasattr(config, "to_dict"):
    raise ValueError(
      f"get_config of the config file returns a {type(config).__name__}; want the "
      "ConfigDict of configs/base.py, with changes"
    )
  return config.to_dict()


def describe(error: Exception) -> str:
  """The text of one of USER_ERRORS, cut where a file has made it long.

  Python's own MemoryError has none.
  """
  text = str(error)
  if isinstance(error, MemoryError):
    text = f"out of memory{f' ({text})' if text else ''}; want smaller inputs"
  if len(text) <= MAX_TEXT:
    return text
  return f"{text[: MAX_TEXT - MAX_END]} ... {text[-MAX_END:]}"


def explain(error: Exception, argv: Sequence[str]) -> str:
  """The sentence for an error that the parsing of a command line raised.

  Args:
    error: of absl's flags, of ml_collections, or of a config file.
    argv: the command line.
  """
  is_bug = not isinstance(error, flags.Error | AttributeError | TypeError | ValueError)
  if is_bug and (line := _line_of_config(error, argv)):
    return f"{line}: {type(error).__name__}: {_one_line(str(error))}"
  unknown = error.flagname if isinstance(error, flags.UnrecognizedFlagError) else ""
  if unknown.startswith("config."):
    return (
      f"--{unknown} changes a field of a config, but the command has none; put "
      "--config=FILE before it, such as --config=configs/onet.py"
    )
  number = re.match(
    r"flag (--config\.\S+): (could not convert|invalid lit)", str(error)
  )
  if number:
    kind = "a number" if number[2].startswith("could") else "a whole number"
    return f"{number[1]}: want {kind}; leave it out for the config's own value"
  if isinstance(error, LookupError | AttributeError):
    return _explain_field(str(error.args[0]) if error.args else "", argv)
  # absl hides the error of a config file behind two others.
  cause: BaseException | None = error
  while cause is not None and not str(cause).startswith(_IN_CONFIG):
    cause = cause.__context__
  if cause is None or cause.__context__ is None:
    return _one_line(str(error))
  text, value = _one_line(str(cause.__context__)), _config_value(argv) or ""
  if text.startswith("get_config() takes 0 positional arguments"):
    path, _, variant = value.partition(":")
    return f"--config={value}: no such variant as {variant!r}; want --config={path}"
  return text


def _explain_field(text: str, argv: Sequence[str]) -> str:
  """The sentence for a field that a config does not have, from ml_collections' own."""
  field = re.match(r"[\"'\\]+(\w+)", text)  # quoted once or twice
  if field is None:
    return _one_line(text)
  overrides = [arg.split("=", 1)[0] for arg in argv if re.match(r"--?config\.", arg)]
  flag = next((o for o in overrides if field[1] in o.split(".")), "--config")
  close = re.search(r'Did you mean "(\w+)"', text)
  wanted = f"{close[1]}, or another" if close else "one"
  return (
    f"{flag}: the config has no field {field[1]}; want {wanted} of the fields in "
    "configs/base.py and configs/models/"
  )


def _line_of_config(error: Exception, argv: Sequence[str]) -> str:
  """File and line of the config in which an error arose; "" if it was elsewhere."""
  path = (_config_value(argv) or "").split(":", 1)[0]
  if isinstance(error, SyntaxError):
    return f"{error.filename}, line {error.lineno}"
  frames = traceback.extract_tb(error.__traceback__)
  own = os.path.realpath(path)
  lines = [f.lineno for f in frames if path and os.path.realpath(f.filename) == own]
  return f"{path}, line {lines[-1]}" if lines else ""


def _config_value(argv: Sequence[str]) -> str | None:
  """The value of --config, also where it is the next argument; None without one."""
  for i, arg in enumerate(argv):
    if match := re.match(r"--?config(?:=(.*))?$", arg):
      return match[1] if match[1] is not None else next(iter(argv[i + 1 :]), None)
  return None


def _one_line(text: str) -> str:
  return " ".join(text.split())


@contextlib.contextmanager
def quiet_pipe() -> Iterator[None]:
  """Ends the process without a word if the reader of its output has gone, as head.

  The exit code is that of a process that SIGPIPE ended: 128 + 13. The sentence of
  another error is still printed. Characters of file names that the output has no code
  for are printed as escapes, rather than end the process.
  """
  if isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(errors="backslashreplace")
  try:
    try:
      yield
    finally:
      sys.stdout.flush()  # now: an error in the interpreter's own flush is printed
  except BrokenPipeError as error:
    if not is_of_output(error):
      raise
    # What is still in the buffer goes to the null device when the interpreter ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    code = getattr(error.__context__, "code", None)  # of a SystemExit
    sys.exit(code if isinstance(code, str) else 141)


def is_of_output(error: BaseException) -> bool:
  """Whether a broken pipe is that of the standard output, not of another process."""
  if not isinstance(error, BrokenPipeError):
    return False
  poll = select.poll()
  poll.register(sys.stdout.fileno(), 0)  # errors are reported without being asked for
  return bool(poll.poll(0))
