"""Measures the figures that the project holds itself to, and prints them as a table."""
