import runpy

import numpy as np
import pytest

from tests.helpers import ROOT

PATH = ROOT / "tests" / "parity" / "redraw.py"
Generator = runpy.run_path(str(PATH))["Generator"]
SEED = 5  # what follows is what PyTorch 2.13 draws from it on a CPU
UNIFORM = [0.8302519, 0.1261109, 0.9074697]
FEW = [-0.4867808, -0.6038216, -0.5580962]
FEW_MORE = [0.6675243, -0.1974151]  # the first is the spare one of FEW's last pair
SEVENTEEN = [
  *(1.84233, 1.222025, -0.3364494, -0.9650602, -0.1296627, -0.6017656, 0.1449986),
  *(-0.1498272, 2.614577, 0.7792338, -0.05833946, -2.030495, 1.482932, 0.4940381),
  *(0.2492188, 1.747031, 0.744777),
]


def test_uniform_numbers_are_those_of_pytorch():
  np.testing.assert_allclose(Generator(SEED).rand((3,)), UNIFORM, atol=1e-6)


@pytest.mark.parametrize("wanted", [FEW, SEVENTEEN], ids=["few", "a block and one"])
def test_normal_numbers_are_those_of_pytorch(wanted):
  found = Generator(SEED).randn((len(wanted),))
  assert found.dtype == np.float32
  np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_the_second_of_a_pair_of_normal_numbers_is_kept_for_the_next_call():
  generator = Generator(SEED)
  generator.randn((3,))
  np.testing.assert_allclose(generator.randn((2,)), FEW_MORE, atol=1e-6)
