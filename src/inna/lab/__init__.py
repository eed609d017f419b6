"""The laboratory: the paper's experiments, from a plan to a report.

Data flows one way: plan, runs, records, results, report.

- `inna.lab.plan`: what is to be run, as plain data; the presets are TOML files in ``plans/``;
  `inna.lab.comparing`: a plan from a few words; `inna.lab.imports`: how one's own modules are found.
- `inna.lab.data`: what it is run on.
- `inna.lab.running`: how it is run: training, workers, engines.
- `inna.lab.records`: what a run leaves on the disk; `inna.lab.tensorboard`: copies for TensorBoard.
- `inna.lab.protocol`: Section 5.2 of the paper: which runs, and what is chosen from them.
- `inna.lab.archive`: the same from what is on the disk, without running anything; `inna.lab.status`: how
  far it is; `inna.lab.export`: all records as one table.
- `inna.lab.results`: what the records show.
- `inna.lab.reporting`: the figures and the report.
- `inna.lab.gallery`: Figure 1 and the pictures of the theory, which need no experiment.
- `inna.lab.files`, `inna.lab.style`: how files are written, and how pictures look.
"""

from . import _moved

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

_moved.forward()
