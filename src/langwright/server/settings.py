"""How a server serves."""

from __future__ import annotations

from pydantic import Field

from langwright.backend import Device, Dtype
from langwright.config import Settings


class ServeSettings(Settings):
    """`host` and `port` (0: a free one) are listened on; another host than this machine's own needs
    a key (`langwright keys`). Pages of other sites may call where `origins` names theirs.

    Of each model `max_answers` calls are answered at once and `max_waiting` more wait; what comes
    beyond gets 429. A body has at most `max_body_mb` megabytes; after `deadline_s` seconds an
    answer ends as it stands. Loaded models take at most `memory_gb` of memory (0: no bound), those
    longest idle going first; `keep_alive_s` unloads what nobody has asked for so long (0: never).

    `dtype` and `device` are those of `open_model`. `lenient`: parameters that are not honoured are
    named in a header instead of refused, and an unknown model is the first. `follow`: a run is
    served by its latest checkpoint, as training writes them.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    origins: tuple[str, ...] = ()
    max_answers: int = Field(default=16, ge=1, le=1024)
    max_waiting: int = Field(default=256, ge=0)
    max_body_mb: float = Field(default=16.0, gt=0)
    deadline_s: float = Field(default=600.0, gt=0)
    memory_gb: float = Field(default=0.0, ge=0)
    keep_alive_s: float = Field(default=0.0, ge=0)
    dtype: Dtype = "float32"
    device: Device = "cpu"
    lenient: bool = False
    follow: bool = False
