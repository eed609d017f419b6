"""INNA and INNAprop by their names, as Keras takes those of its own optimizers: `compile("inna")`."""

from typing import Any

import keras

__all__ = ["register"]


class Name(str):
    """A name that makes an optimizer; a string still, as Keras puts it for any like it in a saved model."""

    make: Any

    def __new__(cls, name: str, make: type[object]) -> "Name":
        """The name of a class."""
        self = super().__new__(cls, name)
        self.make = make
        return self

    def from_config(self, config: dict[str, object]) -> object:
        """The optimizer with this configuration."""
        optimizer: object = self.make.from_config(config)
        return optimizer


def register(*optimizers: type[object]) -> None:
    """Let Keras find the classes by their names, in small letters too."""
    for make in optimizers:
        for name in (make.__name__, make.__name__.lower()):
            keras.saving.get_custom_objects()[name] = Name(name, make)
