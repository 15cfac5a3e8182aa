"""What the interpreter imports first: the faults that the environment orders, then the machine's own customisation."""

import importlib.util
import sys
from importlib.machinery import PathFinder
from pathlib import Path

_HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("overnight_chaos_faults", _HERE.parent / "faults.py")
_faults = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _faults
_spec.loader.exec_module(_faults)
_faults.arm_from_environment()

_own = PathFinder.find_spec(
    "sitecustomize", [each for each in sys.path if Path(each or ".").resolve() != _HERE]
)
if _own is not None and _own.loader is not None:
    _own.loader.exec_module(importlib.util.module_from_spec(_own))
