"""Data sets: loaded as arrays, fetched from their official sources, or anyone's own.

- `inna.lab.data.loading`: a data set by its name or path, checked.
- `inna.lab.data.formats`: the official formats; `inna.lab.data.own`: .npz files and folders of images.
- `inna.lab.data.sources`: what the official files are, and where from; `inna.lab.data.fetch`: how they
  are brought here.
"""

from .loading import DATASETS, EMBEDDED, Dataset, Registered, check_name, load
from .sources import DataError

__all__ = ["DATASETS", "EMBEDDED", "DataError", "Dataset", "Registered", "check_name", "load"]
