from types import SimpleNamespace
from typing import Any

import pytest

pynvml = pytest.importorskip("pynvml")


class FakeNvml:
    """Stands in for pynvml: some devices that are well; a function may be replaced by another, or by an error."""

    def __init__(self, n_devices: int = 1, **changes: Any) -> None:
        self.n_inits = self.n_calls = 0
        self._devices = [SimpleNamespace(uuid=f"GPU-{index}", index=index) for index in range(n_devices)]
        self.answers: dict[str, Any] = {
            "nvmlShutdown": None,
            "nvmlDeviceGetCount": n_devices,
            "nvmlDeviceGetHandleByIndex": lambda index: self._devices[index],
            "nvmlDeviceGetUUID": lambda device: device.uuid,
            "nvmlDeviceGetMigMode": self.error(3),
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=6 << 30, total=16 << 30, free=10 << 30),
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=87, memory=40),
            "nvmlDeviceGetTemperature": 61,
            "nvmlDeviceGetPowerUsage": 120_500,
            "nvmlDeviceGetClockInfo": lambda device, clock: {1: 1800, 2: 7000}[clock],
            "nvmlDeviceGetCurrentClocksEventReasons": 0x24,
            "nvmlDeviceGetComputeRunningProcesses": [
                SimpleNamespace(pid=7, usedGpuMemory=4 << 30),
                SimpleNamespace(pid=8, usedGpuMemory=1 << 30),
                SimpleNamespace(pid=99, usedGpuMemory=1 << 30),
            ],
            **changes,
        }

    @staticmethod
    def error(code: int) -> Exception:
        return pynvml.NVMLError(code)

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's name
        self.n_inits += 1
        self._answer("nvmlInit", (), None)

    def __getattr__(self, name: str) -> Any:
        if name not in self.answers:
            raise AttributeError(f"module 'pynvml' has no attribute '{name}'")
        return lambda *arguments: self._answer(name, arguments, self.answers[name])

    def _answer(self, name: str, arguments: tuple[Any, ...], plain: Any) -> Any:
        self.n_calls += 1
        answer = self.answers.get(name, plain)
        if isinstance(answer, BaseException):
            raise answer
        return answer(*arguments) if callable(answer) else answer


@pytest.fixture
def fake_nvml(monkeypatch: pytest.MonkeyPatch) -> type[FakeNvml]:
    """Return the class of a stand-in for pynvml; no device is hidden by the environment."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return FakeNvml
