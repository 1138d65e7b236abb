"""Packages of the npm registry that tests need, fetched once and checked."""

import base64
import hashlib
import urllib.error
import urllib.request

import filelock
import pytest

from tests.helpers import ROOT

REGISTRY = "https://registry.npmjs.org"
SHA512 = {  # as the registry writes it, of name and version
  ("onnxruntime-web", "1.30.0"): (
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4C"
    "XAfKYQ=="
  ),
}
PATIENCE = 120  # seconds without a byte


def fetch(name, version):
  """The archive of a package; the test is skipped where no registry can be reached."""
  path = ROOT / ".cache" / "npm" / f"{name}-{version}.tgz"
  path.parent.mkdir(parents=True, exist_ok=True)
  with filelock.FileLock(f"{path}.lock"):
    if not path.exists() or digest(path.read_bytes()) != SHA512[name, version]:
      data = download(f"{REGISTRY}/{name}/-/{path.name}")
      assert digest(data) == SHA512[name, version]
      path.write_bytes(data)
  return path


def digest(data):
  return base64.b64encode(hashlib.sha512(data).digest()).decode()


def download(address):
  try:
    with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
      return answer.read()
  except urllib.error.HTTPError:
    raise  # the registry answers, and has no such file
  except OSError as error:
    pytest.skip(f"{address} cannot be fetched ({error}), which this test needs")
