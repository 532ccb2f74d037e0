"""One loop for every stage of training."""

from langwright.training.launch import launch
from langwright.training.recipe import read_recipe, recipes
from langwright.training.stages.pairs import pairs
from langwright.training.stages.pretrain import pretrain
from langwright.training.stages.sft import sft

__all__ = ["launch", "pairs", "pretrain", "read_recipe", "recipes", "sft"]
