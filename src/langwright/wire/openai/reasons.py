"""Why an answer ended, in OpenAI's words."""

from langwright.backend import FinishReason

REASONS: dict[FinishReason, str] = {
    "stop": "stop",
    "length": "length",
    "abort": "stop",
    "deadline": "length",
    "error": "stop",
}
