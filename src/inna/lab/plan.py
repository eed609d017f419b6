"""What is to be run, as plain data: a plan, its settings, and the runs they come to."""

import hashlib
import json
import math
import re
import reprlib
import tomllib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from .files import expanded
from .spaces import known

__all__ = [
    "PRESETS",
    "Evaluation",
    "Plan",
    "PlanError",
    "Problem",
    "Range",
    "Run",
    "Setting",
    "file_name",
    "load",
    "validated",
]

PRESETS = Path(__file__).parent / "plans"
"""The folder of the presets."""
LONGEST = 1 << 20
"""Bytes of a plan's file."""
_DEEP = re.compile(r"""(?<![\w-])((?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){50}""")
"""A dotted key of 50 parts."""


def _number(value: Any) -> Any:
    """Python counts with true and false; here they are no numbers."""
    if isinstance(value, bool):
        raise ValueError(f"Input should be a number, got {value}")
    return value


def _plain(expected: str) -> WrapValidator:
    """What records can hold: JSON knows no infinity, and others read its integers as 64 bits."""

    def writable(value: Any) -> bool:
        if isinstance(value, dict | tuple | list):
            return all(map(writable, value.values() if isinstance(value, dict) else value))
        if isinstance(value, int):
            return -(2**63) <= value < 2**63
        return not isinstance(value, float) or math.isfinite(value)

    def check(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
        with suppress(ValidationError):
            made = read(value)
            if writable(made):
                return made
        raise ValueError(f"Input should be {expected}, got {_shown(value)}")

    return WrapValidator(check)


Name = Annotated[str, Field(min_length=1)]
Whole = Annotated[int, Field(ge=0, lt=10**12), BeforeValidator(_number)]
Count = Annotated[int, Field(ge=1, lt=10**12), BeforeValidator(_number)]
Seed = Annotated[int, Field(ge=0, lt=2**64), BeforeValidator(_number)]
Step = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_number)]
Decay = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(_number)]
Grid = Annotated[tuple[Step, ...], Field(min_length=1)]
Scalar = bool | int | float | str
Option = Annotated[
    Scalar | tuple[Scalar, ...],
    _plain("true, false, a finite number, an integer of 64 bits, a text, or a list of these"),
]
Schedule = Annotated[
    str | dict[str, JsonValue], _plain("the name of a schedule, or a table of its family and arguments")
]
Sampling = Literal["epochs", "independent"]
Loss = Literal["cross_entropy", "clipped_cross_entropy"]
TrainLoss = Literal["evaluated", "running"]
Precision = Literal["float32", "tf32", "bfloat16"]
Lead = Literal["train_loss", "test_loss"]
Share = Annotated[float, Field(ge=0, lt=1), BeforeValidator(_number)]
DecayOn = Literal["all", "matrices"]
Model = TypeVar("Model", bound=BaseModel)


class PlanError(ValueError):
    """A plan is not sound; the message names the field, the value and what was expected."""


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(_Data):
    """A data set, or its first images, and a network; or a task."""

    dataset: str = ""
    """A name of `inna.lab.data.DATASETS`, or the path of an .npz file or of a folder of images."""
    network: str = ""
    """A name of `inna.lab.running.networks.NETWORKS`, or the import path of (shape, classes) -> module."""
    train: Count | None = None
    test: Count | None = None
    task: Name | None = None
    """Instead of these: a name of `inna.lab.tasks.TASKS`, or the import path of what gives a `Task`."""
    options: dict[str, Option] = {}
    """The task's. A file is named by its path, which is looked up beside the plan."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        images = {"dataset", "network", "train", "test"} & self.model_fields_set
        if self.task is None:
            missing = [key for key in ("dataset", "network") if not getattr(self, key)]
            if missing:
                raise ValueError(f"no {' and no '.join(missing)}: give a dataset and a network, or a task")
            if self.options:
                raise ValueError(f"options are a task's, got {self.options!r} without a task")
        elif any(getattr(self, key) for key in images):
            raise ValueError(f"give a task, or a dataset and a network, got the task {self.task!r} and both")
        return self

    def __hash__(self) -> int:
        return hash((self.name, self.train, self.test))

    @property
    def title(self) -> str:
        """The task's name, or the data set's: of a file or folder the last part of its path."""
        return self.task or Path(self.dataset).stem

    @property
    def details(self) -> str:
        """What the title leaves open: the network, or the task's options."""
        options = [f"{key}={_last_part(value)}" for key, value in self.options.items()]
        return " ".join(options) if self.task else self.network

    @property
    def caption(self) -> str:
        """A name for readers."""
        return ", ".join(filter(None, [self.title, self.details]))

    @property
    def name(self) -> str:
        """A name for folders and titles."""
        return file_name("-".join(filter(None, [self.title, self.details])))


Number = Annotated[int | float, Field(allow_inf_nan=False), BeforeValidator(_number)]


class Range(_Data):
    """Where a search draws a value: between two ends, whole if both are, or from some choices."""

    low: Number = 0
    high: Number = 0
    log: bool = False
    """Evenly in the logarithm."""
    choices: tuple[Option, ...] = ()

    @model_validator(mode="after")
    def _sound(self) -> Self:
        ends = f"low = {self.low:g}, high = {self.high:g}"
        if self.choices and (self.low, self.high, self.log) != (0, 0, False):
            raise ValueError(f"give choices, or low and high, got both: {ends}")
        if not self.choices and not self.low < self.high:
            raise ValueError(f"give low below high, or choices; got {ends}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs low above 0, got {self.low:g}")
        return self

    @property
    def is_whole(self) -> bool:
        """Whether it draws integers."""
        return not self.choices and isinstance(self.low, int) and isinstance(self.high, int)


class Setting(_Data):
    """An optimizer with its options and its decay; the initial step gamma_0 is to be chosen."""

    label: Name
    optimizer: str
    options: dict[str, Option] = {}
    q: Decay = 0.0
    """gamma_k = gamma_0 (k + 1)^-q."""
    schedule: Schedule | None = None
    """Instead of q: a family of `inna.schedules` with its arguments, or the import path of a function."""
    grid: Grid | None = None
    """Instead of the plan's grid."""
    space: dict[str, Range] = {}
    """In a plan with `trials`: where lr is drawn, and q, options, and the fields below."""
    role: Literal["candidate", "peer"] = "peer"
    """The best candidate is the INNA of Figures 3 and 4; the peers are its rivals."""
    batch_size: Count | None = None
    """This and the fields below: instead of the plan's."""
    accumulate: Count | None = None
    clip_value: Decay | None = None
    clip_norm: Decay | None = None
    weight_decay_on: DecayOn | None = None
    ema: Share | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.schedule is not None and self.q != 0:
            raise ValueError(f"give q or schedule, not both, got {self.q!r} and {self.schedule!r}")
        if self.space and "lr" not in self.space:
            raise ValueError(f"a space has lr, got {', '.join(self.space)}")
        given = {*self.options, *(name for name in SETTINGS_OWN if getattr(self, name) is not None)}
        both = (given | {"q"} if self.q or self.schedule is not None else given) & self.space.keys()
        if both:
            raise ValueError(f"{', '.join(sorted(both))} is given, and in the space as well: give one")
        if self.space and self.grid:
            raise ValueError(f"give a grid or a space, got {list(self.grid)} and a space")
        self._check_ends()
        return self

    def _check_ends(self) -> None:
        """What a space can draw must be what its fields take."""
        for name, given in self.space.items():
            for value in given.choices or (given.low, given.high):
                try:
                    if name == "lr":
                        TypeAdapter(Step).validate_python(value)
                    elif name in ("q", *SETTINGS_OWN):
                        type(self).model_validate({"label": "drawn", "optimizer": "any", name: value})
                except ValidationError as error:
                    (first, *_) = error.errors()
                    raise ValueError(f"space.{name}: {first['msg']}, got {_shown(value)}") from None

    def at(self, values: dict[str, Any]) -> Self:
        """The setting at values that a search has drawn, lr apart.

        Example:
            >>> Setting(label="mine", optimizer="adam").at({"eps": 1e-6, "clip_norm": 1.0}).options
            {'eps': 1e-06}
        """
        own = {name: value for name, value in values.items() if name in ("q", *SETTINGS_OWN)}
        options = {name: value for name, value in values.items() if name not in own}
        return self.model_copy(update={**own, "options": {**self.options, **options}})

    @property
    def is_adam(self) -> bool:
        """Whether its optimizer is an Adam, with which Figure 4 compares."""
        return self.optimizer.rpartition(".")[2].lower() == "adam"


class Hypothesis(_Data):
    """What a plan declares before it runs: one optimizer is ahead of another, tested one-sided."""

    ahead: Name
    """The label of a setting."""
    of: Name
    field: Literal["train_loss", "test_loss", "test_accuracy"] = "test_loss"


class Evaluation(StrEnum):
    """When a run evaluates what: one that serves to choose gamma_0 never looks at the test data."""

    every_epoch = "every epoch"
    at_the_end = "training loss at the end"
    validation = "validation loss at the end"


class _Training(_Data):
    """What training has besides the optimizer."""

    accumulate: Count = 1
    """A step takes the mean gradient of so many mini-batches, over all their rows."""
    clip_value: Decay = 0.0
    """Each coordinate of the gradient is cut to [-clip_value, clip_value]; 0: not at all."""
    clip_norm: Decay = 0.0
    """A gradient whose Euclidean norm over all parameters is greater is scaled to it; 0: none is."""
    weight_decay_on: DecayOn = "all"
    """Or ``matrices``: the option weight_decay is 0 for what `inna.torch.param_groups` spares."""
    ema: Share = 0.0
    """Evaluated are weights averaged over the steps, w <- ema w + (1 - ema) theta; 0: theta itself."""
    epoch_steps: Whole = 0
    """An epoch is so many steps, whatever the size of the data; 0: once through the data."""
    validation: Share = 0.0
    """So much of the training data is not trained on, and its loss chooses instead of the training loss."""
    label_smoothing: Share = 0.0
    """In training the label counts 1 - label_smoothing, and all classes share the rest; evaluated without."""
    flip: bool = False
    """In training every other image, by chance, is mirrored left to right."""
    crop: Annotated[int, Field(ge=0, lt=1000), BeforeValidator(_number)] = 0
    """In training images are moved by up to so many pixels, drawn for each, and filled up with black."""


SETTINGS_OWN = ("batch_size", "accumulate", "clip_value", "clip_norm", "weight_decay_on", "ema")
"""The plan's fields that a setting may have for itself."""


class Run(_Training):
    """One training run, completely: the same run gives the same records."""

    problem: Problem
    optimizer: str
    options: dict[str, Option]
    lr: Step
    q: Decay = 0.0
    schedule: Schedule | None = None
    init: str
    batch_size: Count
    sampling: Sampling = "epochs"
    epochs: Whole
    seed: Seed
    threads: Count
    device: str
    evaluate: Evaluation
    loss: Loss = "cross_entropy"
    train_loss: TrainLoss = "evaluated"
    precision: Precision = "float32"

    @model_validator(mode="after")
    def _sound(self) -> Self:
        _check_images_own(self, self.loss, [self.problem])
        return self

    @property
    def folder(self) -> Path:
        """Where its records lie, relative to the folder of all runs; no two runs of a plan share one."""
        decay = f"q{self.q:g}" if self.schedule is None else file_name(json.dumps(self.schedule))
        options = [f"{key}{value}" for key, value in self.options.items()]
        setting = "-".join([self.optimizer.rpartition(".")[2], *options, decay])
        content = self.model_dump(mode="json")
        problem = content["problem"]
        problem["dataset"] = Path(self.problem.dataset).name  # a file may move with its folder
        problem["options"] = {key: _last_part(value) for key, value in problem["options"].items()}
        if self.problem.task is None:
            del problem["task"], problem["options"]
        for later in ("loss", "train_loss", "precision", *_Training.model_fields):  # older runs lack them
            if content[later] == type(self).model_fields[later].default:
                del content[later]
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]
        leaf = f"lr{self.lr:g}-seed{self.seed}-epochs{self.epochs}-{digest}"
        return Path(self.problem.name, file_name(setting), leaf)


class Plan(_Training):
    """The protocol of Section 5.2 with its numbers: see ``plans/paper.toml`` for the paper's."""

    name: Name
    description: str = ""
    problems: Annotated[tuple[Problem, ...], Field(min_length=1)]
    settings: Annotated[tuple[Setting, ...], Field(min_length=1)]
    schedule: Schedule | None = None
    """Of the settings that have neither a schedule nor q of their own."""
    decays: tuple[Decay, ...] = ()
    """The other q with which the best candidate is run (Figure 4)."""
    init: str = "glorot_normal"
    batch_size: Count = 32
    sampling: Sampling = "epochs"
    """Every image once an epoch, or each mini-batch drawn independently with replacement (Assumption 1)."""
    epochs: Count
    selection_epochs: Whole
    """gamma_0 is the one with the smallest mean training loss after so many epochs.
    With 0 nothing is chosen, and each grid is one step."""
    loss: Loss = "cross_entropy"
    """Of the logits; or of the softmax's outputs clipped to [1e-7, 1 - 1e-7], without gradient where clipped,
    as in Keras 2.2.4."""
    train_loss: TrainLoss = "evaluated"
    """J is evaluated on the training set after the epoch, dropout off; or it is the mean of the mini-batches'
    losses during the epoch, dropout on, as in Keras's history."""
    grid: tuple[Step, ...] = ()
    trials: Whole = 0
    """So many settings are drawn from each setting's space, instead of the grids; 0: none are."""
    sampler: Literal["quasi-random", "random", "tpe"] = "quasi-random"
    """A scrambled Halton sequence; independent draws; or Optuna's TPE, which looks where losses were low."""
    halving: Annotated[int, Field(ge=0, lt=10**6), BeforeValidator(_number)] = 0
    """Successive halving by h = 2, 3, ...: all trials run for S / h^k of the S selection epochs, the best
    h-th part of them for S / h^(k - 1), and so on to S, each from its beginning; 0: all run for S."""
    search_seed: Seed = 0
    selection_seeds: tuple[Seed, ...] = ()
    """The seeds of the short runs, if not those of the long ones."""
    max_extensions: Whole = 2
    """How often the grid grows while its best point lies on its edge."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    judged_by: Lead | None = None
    """What ranks the optimizers: the test loss where a validation loss chose, else the training loss."""
    hypotheses: tuple[Hypothesis, ...] = ()
    level: Annotated[float, Field(gt=0, lt=0.5), BeforeValidator(_number)] = 0.05
    """How often the tests of the hypotheses, those of all problems together, may find what is not there."""
    threads: Count = 1
    device: str = "cpu"
    precision: Precision = "float32"
    """Of products and convolutions: float32; on a GPU its shorter TensorFloat-32, which is faster; or torch's
    autocast to bfloat16 in training. Weights stay float32, and so does what is evaluated."""
    modules: tuple[str, ...] = ()
    """Folders in which own modules and data are looked up; that of the plan's file is always the first."""

    @model_validator(mode="before")
    @classmethod
    def _one_schedule(cls, content: Any) -> Any:
        shared = content.get("schedule") if isinstance(content, dict) else None
        settings = content.get("settings") if shared is not None else None
        if not isinstance(settings, list | tuple):
            return content
        return {**content, "settings": [_scheduled(setting, shared) for setting in settings]}

    @model_validator(mode="before")
    @classmethod
    def _known_spaces(cls, content: Any) -> Any:
        settings = content.get("settings") if isinstance(content, dict) and content.get("trials") else None
        if not isinstance(settings, list | tuple):
            return content
        return {**content, "settings": [_with_space(setting) for setting in settings]}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        occurring: list[tuple[str, Sequence[Any]]] = [
            ("problem", [(p.name, p.train, p.test) for p in self.problems]),
            ("label", [setting.label for setting in self.settings]),
            ("seed", self.seeds),
            ("selection seed", self.selection_seeds),
            ("decay", self.decays),
            ("hypothesis", [f"{told.ahead} ahead of {told.of}, {told.field}" for told in self.hypotheses]),
        ]
        occurring += [
            ("step in the grid", grid) for grid in (self.grid, *(s.grid for s in self.settings)) if grid
        ]
        for what, values in occurring:
            for value, count in Counter(values).items():
                if count > 1:
                    raise ValueError(f"the {what} {value!r} occurs twice")
        for label, grid in [("plan", self.grid), *((s.label, s.grid) for s in self.settings if s.grid)]:
            if self.selection_epochs == 0 and len(grid) > 1:
                raise ValueError(
                    f"with selection_epochs = 0 nothing is chosen, but the grid of {label} has {len(grid)} "
                    "steps: give it one step, or say after how many epochs to choose"
                )
        self._check_choice()
        labels = [setting.label for setting in self.settings]
        for told in self.hypotheses:
            for label in (told.ahead, told.of):
                _known("setting of a hypothesis", label, labels)
            if told.ahead == told.of:
                raise ValueError(f"a hypothesis compares two settings, got {told.of!r} twice")
        if self.decays and all(setting.role == "peer" for setting in self.settings):
            raise ValueError(
                f"the decays {list(self.decays)} are for the best candidate: give some setting that role"
            )
        _check_images_own(self, self.loss, self.problems)
        return self

    def _check_choice(self) -> None:
        if self.trials and self.grid:
            raise ValueError(
                f"with trials = {self.trials} steps are drawn: leave out grid = {list(self.grid)}"
            )
        for setting in self.settings:
            if self.trials and not setting.space:
                raise ValueError(
                    f"with trials = {self.trials} all get as many, and none is known of "
                    f"{setting.optimizer}: give {setting.label!r} a space "
                    "(space = { lr = { low = 1e-4, high = 0.1, log = true } })"
                )
            if not self.trials and setting.space:
                raise ValueError(f"{setting.label!r} has a space: say how many trials, such as trials = 12")
            if not self.trials and not setting.grid and not self.grid:
                raise ValueError(
                    f"{setting.label!r} has no grid, nor has the plan: give one, or trials and spaces"
                )
        if self.trials and self.selection_epochs == 0:
            raise ValueError("trials need selection_epochs above 0, after which they are compared")
        if self.halving and (self.trials == 0 or self.sampler == "tpe"):
            raise ValueError(f"halving = {self.halving} needs trials that do not depend on each other's ends")
        if self.halving and not 1 < self.halving <= min(self.selection_epochs, self.trials):
            raise ValueError(
                f"halving lies between 2 and both trials = {self.trials} and selection_epochs = "
                f"{self.selection_epochs}, got {self.halving}"
            )

    @property
    def rungs(self) -> list[tuple[int, int]]:
        """For how many epochs how many trials run: one line without halving.

        Example:
            >>> plan = load("quick")
            >>> plan.model_copy(update={"trials": 12, "selection_epochs": 9, "halving": 3}).rungs
            [(1, 12), (3, 4), (9, 2)]
        """
        epochs, found = self.selection_epochs, []
        while epochs >= 1:
            found.append(epochs)
            if not self.halving or self.halving ** len(found) > self.trials:
                break
            epochs //= self.halving
        return [(e, -(-self.trials // (self.halving or 1) ** k)) for k, e in enumerate(reversed(found))]

    @property
    def criterion(self) -> str:
        """What chooses the step, or the trial, in words."""
        return f"{'validation' if self.validation else 'training'} loss after {self.selection_epochs} epochs"

    @property
    def lead(self) -> Lead:
        """The loss that ranks the optimizers."""
        return self.judged_by or ("test_loss" if self.validation else "train_loss")

    @property
    def choosing_seeds(self) -> tuple[int, ...]:
        """The seeds of the short runs."""
        return self.selection_seeds or self.seeds

    @property
    def trains_plainly(self) -> bool:
        """Whether training has nothing besides the optimizers, as the paper's."""
        fields = _Training.model_fields
        own = [getattr(setting, name) for setting in self.settings for name in SETTINGS_OWN]
        return all(getattr(self, name) == fields[name].default for name in fields) and set(own) == {None}

    def resolved(self, setting: Setting) -> Setting:
        """A setting with the plan's fields where it has none of its own."""
        missing = [name for name in SETTINGS_OWN if getattr(setting, name) is None]
        return setting.model_copy(update={name: getattr(self, name) for name in missing})

    def selection_run(self, problem: Problem, setting: Setting, lr: float, seed: int, epochs: int = 0) -> Run:
        """The short run that helps to choose gamma_0, of all selection epochs or of so many."""
        evaluate = Evaluation.validation if self.validation else Evaluation.at_the_end
        return self._run(problem, setting, lr, seed, epochs or self.selection_epochs, evaluate)

    def long_run(self, problem: Problem, setting: Setting, lr: float, seed: int) -> Run:
        """The run that is drawn in the figures."""
        return self._run(problem, setting, lr, seed, self.epochs, Evaluation.every_epoch)

    def _run(
        self, problem: Problem, setting: Setting, lr: float, seed: int, epochs: int, evaluate: Evaluation
    ) -> Run:
        resolved = self.resolved(setting)
        return Run(
            problem=problem,
            optimizer=setting.optimizer,
            options=setting.options,
            lr=lr,
            q=setting.q,
            schedule=setting.schedule,
            init=self.init,
            sampling=self.sampling,
            epochs=epochs,
            seed=seed,
            threads=self.threads,
            device=self.device,
            evaluate=evaluate,
            loss=self.loss,
            train_loss=self.train_loss,
            precision=self.precision,
            epoch_steps=self.epoch_steps,
            validation=self.validation,
            label_smoothing=self.label_smoothing,
            flip=self.flip,
            crop=self.crop,
            **{name: getattr(resolved, name) for name in SETTINGS_OWN},
        )


def _scheduled(setting: Any, shared: Any) -> Any:
    if not isinstance(setting, dict):
        return setting
    space = setting.get("space")
    own = {*setting, *(space if isinstance(space, dict) else ())}
    return setting if own & {"q", "schedule"} else {**setting, "schedule": shared}


def _with_space(setting: Any) -> Any:
    """A setting that has no space gets the known one of its optimizer, but for its own options."""
    options = setting.get("options", {}) if isinstance(setting, dict) else None
    if not isinstance(options, dict) or "space" in setting or not isinstance(setting.get("optimizer"), str):
        return setting
    space = known(setting["optimizer"], {*options, *setting})
    return setting if space is None else {**setting, "space": space}


def _check_images_own(training: _Training, loss: str, problems: Sequence[Problem]) -> None:
    """Some of what training has is for images alone."""
    smooth, tasks = training.label_smoothing, any(problem.task is not None for problem in problems)
    if smooth and (loss != "cross_entropy" or tasks):
        raise ValueError(
            f"label_smoothing is of the cross_entropy of images, got {smooth} with "
            + ("a task, whose loss is its own" if loss == "cross_entropy" else f"the loss {loss}")
        )
    if tasks and (training.flip or training.crop):
        raise ValueError(f"flip and crop are of images, got {training.flip} and {training.crop} with a task")


def load(preset: str, *, datasets: Sequence[str] = (), device: str | None = None) -> Plan:
    """Read a plan: a preset that ships with the package, or a TOML file of the same form.

    What a file names is beside it, then in the working directory: data sets by their paths, modules with
    networks, optimizers and schedules by their names. `inna.lab.load` looks it up as well.

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
    path = expanded(preset) if preset.endswith(".toml") else PRESETS / f"{preset}.toml"
    try:
        content = _content(path)
        if preset.endswith(".toml"):
            _look_beside(path, content)
        plan = validated(Plan, content if device is None else content | {"device": device})
    except FileNotFoundError:
        known = ", ".join(sorted(p.stem for p in PRESETS.glob("*.toml")))
        raise PlanError(f"unknown preset {preset!r}: choose from {known}, or name a .toml file") from None
    except OSError as error:  # a name that no file system takes, a file that may not be read
        raise PlanError(f"{path}: {error}") from None
    for name in datasets:
        _known(f"data set of {preset}", name, [p.title for p in plan.problems])
    kept = tuple(p for p in plan.problems if p.title in datasets) if datasets else plan.problems
    return plan.model_copy(update={"problems": kept})


def _content(path: Path) -> dict[str, Any]:
    if path.stat().st_size > LONGEST:
        raise PlanError(f"{path} holds {path.stat().st_size:,} bytes, a plan {LONGEST:,} at most")
    try:
        text = path.read_bytes().decode("utf-8-sig")  # some editors write a byte order mark
        if _DEEP.search(text):  # tomllib would need the square of its length
            raise RecursionError
        return tomllib.loads(text)
    except RecursionError:
        raise PlanError(f"{path} is not a plan: it is nested too deeply") from None
    except ValueError as error:
        raise PlanError(f"{path} is not a TOML file: {error}") from None


def _look_beside(path: Path, content: dict[str, Any]) -> None:
    """Let what a plan names be looked up in its folder first."""
    folder = path.resolve().parent
    modules = content.get("modules", [])
    if isinstance(modules, list):
        found = [str(folder / expanded(name)) if isinstance(name, str) else name for name in modules]
        places = [str(folder), *found, str(Path.cwd())]
        content["modules"] = [place for i, place in enumerate(places) if place not in places[:i]]


def validated(model: type[Model], content: dict[str, Any]) -> Model:
    """Build a model from plain data, or raise a PlanError with one line for each mistake."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        found = error.errors()
        places = [e["loc"] for e in found]
        lines = {_line(e, model) for e in found if not _follows(e, places)}
        raise PlanError("\n".join(sorted(lines))) from None


def _follows(error: Any, places: list[tuple[int | str, ...]]) -> bool:
    """Whether a collection is called too short only because what is in it is not sound."""
    place = error["loc"]
    return error["type"] == "too_short" and any(p != place and p[: len(place)] == place for p in places)


def _line(error: Any, model: type[BaseModel]) -> str:
    """Where the mistake is, what was expected, and what was found."""
    place = ".".join(_key(part) for part in error["loc"] if "[" not in str(part))  # no function-before[...]
    message = error["msg"].removeprefix("Value error, ")
    found = "" if error["type"] in ("value_error", "missing") else f", got {_shown(error['input'])}"
    if error["type"] == "extra_forbidden":
        parts: dict[Any, type[BaseModel]] = {"problem": Problem, "problems": Problem, "settings": Setting}
        owner = parts[error["loc"][0]] if len(error["loc"]) > 1 else model
        found += f"; permitted are {', '.join(owner.model_fields)}"
    return f"{place or 'plan'}: {message}{found}"


def _key(part: int | str) -> str:
    text = str(part)
    return text if text.isprintable() and len(text) < 100 else _shown(text)


class _Shown(reprlib.Repr):
    """Values as Python writes them, cut where they are long or deep."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 200
        self.maxlist = self.maxtuple = self.maxdict = 20

    def repr_int(self, value: int, level: int) -> str:
        bits = value.bit_length()
        return super().repr_int(value, level) if bits < 10_000 else f"an integer of {bits} bits"


_shown = _Shown().repr


def _last_part(value: Any) -> Any:
    """Of the path of a file its last part."""
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def file_name(text: str) -> str:
    """A text without what a file's name had better not have."""
    return re.sub(r"[^A-Za-z0-9.+_-]+", "_", text).strip("_")[:100]


def _known(what: str, name: str, names: Any) -> str:
    if name not in names:
        raise PlanError(f"unknown {what} {name!r}: choose from {', '.join(names)}")
    return name
