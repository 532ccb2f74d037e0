"""Archives of pages: what a crawler fetched, and the dumps of a wiki."""
