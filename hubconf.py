"""INNA without installing it: `torch.hub.load("inna-optimizer/inna", "INNA", params, lr=0.1)`."""

import sys
from pathlib import Path

dependencies = ["torch", "numpy"]
sys.path.insert(0, str(Path(__file__).parent / "src"))

from inna.torch import INNA, INNAprop  # noqa: E402, F401
