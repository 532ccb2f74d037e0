"""Data for fine-tuning: files of several shapes, told apart by their fields, made conversations."""

from langwright.training.conversations.lessons import Lessons, TooLong, lessons
from langwright.training.conversations.opened import open_conversations
from langwright.training.conversations.shape import SHAPES, Shape, shape_of

__all__ = [
    "SHAPES",
    "Lessons",
    "Shape",
    "TooLong",
    "lessons",
    "open_conversations",
    "shape_of",
]
