"""Pictures that need no experiment.

- `inna.lab.gallery.figure1`: Figure 1; `inna.lab.gallery.explorer`: an interactive page of it.
- `inna.lab.gallery.theory`: what the paper proves.
"""
