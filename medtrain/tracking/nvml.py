"""What NVML tells of some GPUs; a figure that a GPU, its driver or a MIG device has not is absent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class NoNvml(Exception):
    """NVML cannot be used here; the text says why."""


@dataclass(frozen=True)
class Sample:
    """A GPU at one moment; None: not supported."""

    utilization_percent: float | None = None
    memory_gib: float | None = None
    power_w: float | None = None
    counter_mj: float | None = None  # millijoules since the driver was loaded


class Nvml:
    """The GPUs of some UUIDs, by their numbers. Raises NoNvml where none can be asked."""

    def __init__(self, uuids: list[str]) -> None:
        try:
            import pynvml
        except ImportError as error:
            raise NoNvml(f"{error}: pip install nvidia-ml-py") from None
        self._nvml: Any = pynvml
        try:
            pynvml.nvmlInit()
            found = {uuid: handle for uuid in uuids if (handle := self._handle(uuid)) is not None}
        except pynvml.NVMLError as error:
            raise NoNvml(str(error)) from None
        if not found:
            raise NoNvml("it knows none of this run's GPUs")
        self._handles = {self._number(uuid, handle): handle for uuid, handle in found.items()}

    def _handle(self, uuid: str) -> Any:
        """Of a GPU, or of a part of one (MIG): CUDA gives only the number itself. A GPU that is divided into parts is
        not this run's alone."""
        bare = uuid.removeprefix("GPU-").removeprefix("MIG-")
        for full in (f"MIG-{bare}", f"GPU-{bare}"):
            handle = self._asked(self._nvml.nvmlDeviceGetHandleByUUID, full.encode())
            if handle is not None and not (full.startswith("GPU-") and self._divided(handle)):
                return handle
        return None

    def _divided(self, handle: Any) -> bool:
        mode = self._asked(self._nvml.nvmlDeviceGetMigMode, handle)
        return mode is not None and mode[0] == self._nvml.NVML_DEVICE_MIG_ENABLE

    def _number(self, uuid: str, handle: Any) -> str:
        index = self._asked(self._nvml.nvmlDeviceGetIndex, handle)
        return uuid if index is None else str(index)

    def _asked(self, function: Callable[..., Any], *given: Any) -> Any:
        try:
            return function(*given)
        except self._nvml.NVMLError:  # not supported, no permission, lost
            return None

    def sample(self) -> dict[str, Sample]:
        """Each GPU now."""
        return {name: self._sample(handle) for name, handle in self._handles.items()}

    def _sample(self, handle: Any) -> Sample:
        use = self._asked(self._nvml.nvmlDeviceGetUtilizationRates, handle)
        memory = self._asked(self._nvml.nvmlDeviceGetMemoryInfo, handle)
        power = self._asked(self._nvml.nvmlDeviceGetPowerUsage, handle)
        return Sample(
            None if use is None else float(use.gpu),
            None if memory is None else memory.used / 2**30,
            None if power is None else power / 1000,
            self._asked(self._nvml.nvmlDeviceGetTotalEnergyConsumption, handle),
        )
