"""The laboratory: the paper's experiments, from a plan to a report.

Data flows one way, and each station is one module:

- `inna.lab.plan`: what is to be run, as plain data; the presets are TOML files in ``plans/``;
  `inna.lab.comparing`: a plan from a few words; `inna.lab.imports`: how one's own modules are found.
- `inna.lab.networks`, `inna.lab.optimizers`: what is trained, and with which optimizer and schedule.
- `inna.lab.data`: what it is run on: where the official data come from, and how files are read.
- `inna.lab.training`: one run, which can be killed at any moment and goes on from its checkpoint;
  `inna.lab.graphs`: its step on a GPU.
- `inna.lab.execution`: one run, executed in this process or by a worker somewhere.
- `inna.lab.workers`: many runs, spread over workers; `inna.lab.engines`: where these are.
- `inna.lab.records`: what a run leaves on the disk, as plain data; `inna.lab.provenance`: on what it
  was made; `inna.lab.status`: how far it is; `inna.lab.tensorboard`: copies for TensorBoard.
- `inna.lab.protocol`: Section 5.2 of the paper: which runs, and what is chosen from them.
- `inna.lab.archive`: the same from what is on the disk, without running anything; `inna.lab.export`: all
  records as one table.
- `inna.lab.judgement`: what the results show, in numbers, and `inna.lab.findings`: in sentences;
  `inna.lab.paper`: how far they are from the printed curves.
- `inna.lab.figures`: what each figure shows; `inna.lab.drawing` and `inna.lab.interactive`: how it is drawn,
  in a file and in `inna.lab.report`.

`inna.lab.figure1` stands alone, and so do `inna.lab.explorer`, a page in which it is played with, and
`inna.lab.theory`, the pictures of what the paper proves.
"""

from importlib import import_module
from types import ModuleType

try:
    import filelock as _filelock  # noqa: F401
    import jinja2 as _jinja2  # noqa: F401
    import matplotlib as _matplotlib  # noqa: F401
    import plotly as _plotly  # noqa: F401
    import pydantic as _pydantic  # noqa: F401
    import rich as _rich  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"inna.lab needs {error.name}: pip install 'inna[lab]'", name=error.name
    ) from error

_MOVED = {"fetch": "data.fetch", "formats": "data.formats", "own_data": "data.own", "sources": "data.sources"}


def __getattr__(name: str) -> ModuleType:
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f".{_MOVED[name]}", __name__)
