"""Data sets: loaded as arrays, fetched from their official sources, or anyone's own.

- `inna.lab.data.loading`: a data set by its name or path, checked.
- `inna.lab.data.sources`: those that have a name, each with its reader and its source.
- `inna.lab.data.formats`: the official formats; `inna.lab.data.own`: .npz files and folders of images.
- `inna.lab.data.official`: what official files are, and where they lie; `inna.lab.data.fetch`: how they are
  brought here.
"""

from .loading import Dataset, check_name, load
from .official import DataError
from .sources import DATASETS, EMBEDDED, Registered

__all__ = ["DATASETS", "EMBEDDED", "DataError", "Dataset", "Registered", "check_name", "load"]
