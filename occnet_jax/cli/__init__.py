"""The work of main.py: the stages of a run, reconstruction, generative models."""
