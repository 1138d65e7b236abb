"""One procedural category per file, made of the vocabulary in parts.py (host)."""
