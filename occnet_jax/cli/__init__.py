"""What main.py runs: the stages of a run, reconstruction, generative models."""
