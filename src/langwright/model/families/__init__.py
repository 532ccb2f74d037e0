"""The families of decoders: settings and names, one small file each."""

from langwright.model.families.arcee import ARCEE
from langwright.model.families.config import ConfigFile
from langwright.model.families.family import Family
from langwright.model.families.gemma3 import GEMMA3
from langwright.model.families.gpt2 import GPT2
from langwright.model.families.llama import LLAMA
from langwright.model.families.qwen2 import QWEN2
from langwright.model.families.qwen3 import QWEN3
from langwright.model.families.qwen3_moe import QWEN3_MOE
from langwright.model.families.smollm3 import SMOLLM3

_ALL = (LLAMA, QWEN2, QWEN3, QWEN3_MOE, SMOLLM3, GEMMA3, ARCEE, GPT2)
FAMILIES = {family.name: family for family in _ALL}
"""By the `model_type` of their `config.json`."""

__all__ = ["FAMILIES", "ConfigFile", "Family"]
