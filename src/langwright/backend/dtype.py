"""How a model's weights are held in memory, and where."""

from typing import Literal

Dtype = Literal["float32", "bfloat16", "int8", "int4", "nf4", "auto"]
"""`int8`: a scale to a row; `int4`: a scale and an offset to 32 weights; `nf4`: NormalFloat, the
base of QLoRA; `auto`: as the files hold them."""

Device = Literal["auto", "cpu", "cuda"]
"""`auto`: a GPU where there is one."""
