"""Showing results: reports, picture sheets, charts, previews."""
