"""The terminal: one verb, one file. No logic lives here, and nothing heavy is imported."""
