"""Which program computes."""

from typing import Literal

BackendName = Literal["own", "llama.cpp", "transformers"]
"""`own`: this program's engine; `llama.cpp`: in process, for GGUF files; `transformers`: for the
families of Hugging Face folders that the own engine does not have."""
