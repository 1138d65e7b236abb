"""What a model card says, and the line that a list of models takes from it."""

import pytest

from occnet_jax.interop import cards
from tests.helpers.pretrained import make_model


def test_a_generated_card_has_the_facts_of_config_and_record(tmp_path):
  model = make_model()
  model.config["prep"]["source"] = "folder:chairs"
  model.save_pretrained(tmp_path, dtype="float32")
  text = (tmp_path / "README.md").read_text()
  # Of the encoder: a layer of 3 to 16, five blocks of 16 to 8 to 8 with a shortcut
  # without bias, a layer of 8 to 8.
  encoder = 4 * 16 + 5 * (17 * 8 + 9 * 8 + 16 * 8) + 9 * 8
  # Of the decoder: a layer of 3 to 16, eleven norms with scale and shift of 8 to 16,
  # ten layers of 16 to 16, a layer of 16 to 1.
  decoder = 4 * 16 + 11 * 2 * 9 * 16 + 10 * 17 * 16 + 17
  for fact in (
    "# small",
    f"onet of {encoder + decoder:,} parameters: from a cloud of 32 points to a mesh.",
    "| Stored numbers | float32 |",
    "| Training data | folder:chairs |",
    "| Noise of its clouds | 0.005 cube units |",
    "| Steps | 12 |",
    "| Validation (split val) | iou 0.5, loss 300 |",
    f"| Level of the surface | {model.level:.4g} |",
    "any unit",
    "occnet_jax.from_pretrained(",
    "occnet reconstruct",
  ):
    assert fact in text
  assert cards.summary(tmp_path / "README.md").startswith("onet of ")


def test_a_card_of_ones_own_is_written_as_it_is(tmp_path):
  make_model().save_pretrained(tmp_path, card="# Chairs\n\nOf ten chairs. naïve\n")
  assert (tmp_path / "README.md").read_text(encoding="utf-8").endswith("naïve\n")
  assert cards.summary(tmp_path / "README.md") == "Of ten chairs. naïve"


@pytest.mark.parametrize(
  ("text", "line"),
  [
    ("", ""),
    ("# Title\n\n## Part\n", ""),
    ("---\nlicense: mit\n---\n\n# Title\n\nA line.\nAnother.\n", "A line."),
    ("A line that is\x1b[31m red\n", "A line that is[31m red"),
    ("x" * 1000, "x" * cards.MAX_LINE),
  ],
)
def test_the_summary_is_the_first_line_of_text(tmp_path, text, line):
  (tmp_path / "README.md").write_text(text)
  assert cards.summary(tmp_path / "README.md") == line
  assert cards.summary(tmp_path / "none.md") == ""
