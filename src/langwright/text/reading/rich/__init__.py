"""Extractors for the formats that are more than text: one module a format, each with `read`."""
