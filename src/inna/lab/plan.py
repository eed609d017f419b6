"""What is to be run, as plain data: a plan, its settings, and the runs they come to."""

import hashlib
import importlib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .data import DATASETS
from .networks import INITIALISERS, NETWORKS

__all__ = [
    "PRESETS",
    "Plan",
    "PlanError",
    "Problem",
    "Run",
    "Setting",
    "load",
    "resolve_optimizer",
    "validated",
]

PRESETS = Path(__file__).parent / "plans"

Name = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Step = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Decay = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Option = bool | int | float | str
Model = TypeVar("Model", bound=BaseModel)


class PlanError(ValueError):
    """A plan is not sound; the message names the field, the value and what was expected."""


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(_Data):
    """A data set, or its first images, and a network."""

    dataset: str
    network: str
    train: Count | None = None
    test: Count | None = None

    @field_validator("dataset")
    @classmethod
    def _known_dataset(cls, name: str) -> str:
        return _known("data set", name, DATASETS)

    @field_validator("network")
    @classmethod
    def _known_network(cls, name: str) -> str:
        return _known("network", name, NETWORKS)

    @property
    def name(self) -> str:
        """A name for folders and titles."""
        return f"{self.dataset}-{self.network}"


class Setting(_Data):
    """An optimizer with its options and its decay; the initial step gamma_0 is to be chosen."""

    label: Name
    optimizer: str
    options: dict[str, Option] = {}
    q: Decay = 0.0
    """gamma_k = gamma_0 (k + 1)^-q."""
    role: Literal["candidate", "peer"] = "peer"
    """The best candidate is the INNA of Figures 3 and 4; the peers are its rivals."""

    @field_validator("optimizer")
    @classmethod
    def _known_optimizer(cls, name: str) -> str:
        resolve_optimizer(name)
        return name


class Run(_Data):
    """One training run, completely: the same run gives the same records."""

    problem: Problem
    optimizer: str
    options: dict[str, Option]
    lr: Step
    q: Decay
    init: str
    batch_size: Count
    epochs: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0)]
    threads: Count
    device: str
    evaluate: Literal["every epoch", "training loss at the end"]
    """A run that serves to choose gamma_0 never looks at the test data."""

    @property
    def folder(self) -> Path:
        """Where its records lie, relative to the folder of all runs; no two runs share one."""
        options = [f"{key}{value}" for key, value in self.options.items()]
        setting = "-".join([self.optimizer.rpartition(".")[2], *options, f"q{self.q:g}"])
        digest = hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]
        return Path(self.problem.name, setting, f"lr{self.lr:g}-seed{self.seed}-epochs{self.epochs}-{digest}")


class Plan(_Data):
    """The protocol of Section 5.2 with its numbers: see ``plans/paper.toml`` for the paper's."""

    name: Name
    description: str
    problems: Annotated[tuple[Problem, ...], Field(min_length=1)]
    settings: Annotated[tuple[Setting, ...], Field(min_length=1)]
    decays: tuple[Decay, ...] = ()
    """The other q with which the best candidate is run (Figure 4)."""
    init: str = "glorot_normal"
    batch_size: Count = 32
    epochs: Count
    selection_epochs: Count
    """gamma_0 is the one with the smallest mean training loss after so many epochs."""
    grid: Annotated[tuple[Step, ...], Field(min_length=1)]
    max_extensions: Annotated[int, Field(ge=0)]
    """How often the grid grows while its best point lies on its edge."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    threads: Count = 1
    device: str = "cpu"

    @field_validator("init")
    @classmethod
    def _known_init(cls, name: str) -> str:
        return _known("initialiser", name, INITIALISERS)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        labels = [setting.label for setting in self.settings]
        for what, values in (("label", labels), ("seed", self.seeds), ("step in the grid", self.grid)):
            for value in values:
                if list(values).count(value) > 1:
                    raise ValueError(f"the {what} {value!r} occurs twice")
        return self

    def selection_run(self, problem: Problem, setting: Setting, lr: float, seed: int) -> Run:
        """The short run that helps to choose gamma_0."""
        return self._run(problem, setting, lr, seed, self.selection_epochs, "training loss at the end")

    def long_run(self, problem: Problem, setting: Setting, lr: float, seed: int) -> Run:
        """The run that is drawn in the figures."""
        return self._run(problem, setting, lr, seed, self.epochs, "every epoch")

    def _run(
        self, problem: Problem, setting: Setting, lr: float, seed: int, epochs: int, evaluate: Any
    ) -> Run:
        return Run(
            problem=problem,
            optimizer=setting.optimizer,
            options=setting.options,
            lr=lr,
            q=setting.q,
            init=self.init,
            batch_size=self.batch_size,
            epochs=epochs,
            seed=seed,
            threads=self.threads,
            device=self.device,
            evaluate=evaluate,
        )


def load(preset: str, *, datasets: Sequence[str] = (), device: str | None = None) -> Plan:
    """Load a plan: a preset that ships with the package, or a TOML file of the same form.

    Args:
        preset: the name of a file in ``plans/``, or a path that ends in ``.toml``.
        datasets: keep only the problems on these data sets; all if empty.
        device: run on this torch device instead of the plan's.

    Raises:
        PlanError: the plan is unknown, no TOML, or not sound.

    Example:
        >>> plan = load("quick")
        >>> plan.problems[0].name, plan.epochs, len(plan.settings)
        ('mnist5k-lenet5', 12, 7)
    """
    path = Path(preset) if preset.endswith(".toml") else PRESETS / f"{preset}.toml"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in PRESETS.glob("*.toml")))
        raise PlanError(f"unknown preset {preset!r}: choose from {known}, or name a .toml file")
    try:
        content = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"{path} is not a TOML file: {error}") from None
    if device is not None:
        content["device"] = device
    plan = validated(Plan, content)
    for name in datasets:
        _known(f"data set of {preset}", name, [p.dataset for p in plan.problems])
    kept = tuple(p for p in plan.problems if p.dataset in datasets) if datasets else plan.problems
    return plan.model_copy(update={"problems": kept})


def validated(model: type[Model], content: dict[str, Any]) -> Model:
    """Build a model from plain data, or raise a PlanError with one line for each mistake."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise PlanError(
            "\n".join(
                f"{'.'.join(map(str, e['loc'])) or 'plan'}: {e['msg'].removeprefix('Value error, ')}"
                + ("" if e["type"] == "value_error" else f", got {e['input']!r}")
                for e in error.errors()
            )
        ) from None


def resolve_optimizer(name: str) -> Any:
    """The class behind a dotted path, or behind a bare name in `inna.torch` or `torch.optim` in any case.

    Raises:
        PlanError: there is no such optimizer.

    Example:
        >>> resolve_optimizer("inna").__name__, resolve_optimizer("torch.optim.Adam").__name__
        ('INNA', 'Adam')
    """
    module, _, attribute = name.rpartition(".")
    for place in [module] if module else ["inna.torch", "torch.optim"]:
        try:
            members = vars(importlib.import_module(place))
        except ImportError as error:
            raise PlanError(f"unknown optimizer {name!r}: {error}") from None
        for key, value in members.items():
            same = key == attribute if module else key.lower() == attribute.lower()
            if same and isinstance(value, type) and hasattr(value, "step"):
                return value
    raise PlanError(f"unknown optimizer {name!r}: give a class such as torch.optim.Adam or inna.torch.INNA")


def _known(what: str, name: str, names: Any) -> str:
    if name not in names:
        raise PlanError(f"unknown {what} {name!r}: choose from {', '.join(names)}")
    return name
