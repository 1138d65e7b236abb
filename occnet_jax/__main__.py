"""python -m occnet_jax: the command `occnet`."""

from occnet_jax.cli import occnet

if __name__ == "__main__":
  occnet.main()
