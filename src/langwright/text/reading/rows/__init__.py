"""Containers of many documents: rows with a text, and what else is known of it."""
