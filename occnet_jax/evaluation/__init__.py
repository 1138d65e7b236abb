"""Metrics after the reference protocol, tables and the report."""
