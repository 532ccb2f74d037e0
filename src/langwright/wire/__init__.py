"""The dialects in which models are asked and answer, as codecs without I/O."""
