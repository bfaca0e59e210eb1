"""Options are read without torch, and name what there is."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import get_args

import lightning as L
import pytest

import alignlab
from alignlab.analysis.analyses import ANALYSES
from alignlab.analysis.options import MEANINGS, AnalysisName
from alignlab.benchmarking.options import IdentifiersOptions
from alignlab.config import load
from alignlab.config.schema import Field, schema_of
from alignlab.errors import InputError
from alignlab.methods.options import MethodOptions, PreferenceOptions, TrainableOptions
from alignlab.methods.registry import METHODS, method_of
from alignlab.methods.trainable import WAYS
from alignlab.neurons.identifiers import IDENTIFIERS, identifier_of
from alignlab.neurons.options import IdentifierOptions, LapeOptions, TernaryOptions
from alignlab.options import AnalyzeOptions, ReportConfig, TrainConfig
from alignlab.preparation.options import PreferencesOptions, ResponsesOptions
from alignlab.preparation.preferences import RULES
from alignlab.recording.options import Statistic
from alignlab.recording.tallies import STATISTICS
from alignlab.trainer_options import RESERVED, TrainerOptions

HEAVY = ("torch", "transformers", "lightning", "peft", "datasets", "wandb", "plotly")
LOADED = f"import sys; sys.stderr.write(' '.join(name for name in {HEAVY!r} if name in sys.modules))"


def loaded_by(code: str) -> str:
    """Which of the heavy libraries a program imports."""
    done = subprocess.run([sys.executable, "-c", f"{code}\n{LOADED}"], capture_output=True, text=True, check=True)
    return done.stderr


@pytest.mark.parametrize("argv", [["--help"], ["--help", "probe"], ["dry_run=none", "nothing=x"]])
@pytest.mark.parametrize("verb", ["train", "analyze", "intervene", "study", "report"])
def test_help_and_refusals_import_no_torch(verb: str, argv: list[str]) -> None:
    said = loaded_by(f"from alignlab.{verb} import main\nmain({argv})")
    assert said.strip().splitlines()[-1:] == [] or not set(said.split()) & set(HEAVY), said


def test_the_same_program_sees_torch_where_it_is_imported() -> None:
    assert "torch" in loaded_by("import alignlab.building").split()


def test_modules_of_options_import_no_torch() -> None:
    root = Path(alignlab.__file__).parent
    files = [*root.rglob("options.py"), root / "trainer_options.py", *root.glob("config/*.py")]
    names = [".".join(["alignlab", *file.relative_to(root).with_suffix("").parts]) for file in files]
    assert len(names) > 15
    assert loaded_by("\n".join(f"import {name}" for name in names)) == ""


def test_public_names_are_there_whatever_was_imported_before() -> None:
    code = (
        "import alignlab.neurons.identifiers\nfrom alignlab.neurons import ActivationCounts, NeuronSets, ternary, lape"
    )
    assert loaded_by(f"{code}\nassert callable(ternary) and callable(lape)") == "torch"


def test_the_arguments_of_the_trainer_are_those_of_lightning() -> None:
    assert set(TrainerOptions.__annotations__) == set(inspect.signature(L.Trainer).parameters) - set(RESERVED)


def test_names_in_options_are_those_of_what_is_there() -> None:
    assert get_args(Statistic) == tuple(STATISTICS)
    assert get_args(AnalysisName) == tuple(MEANINGS) == tuple(ANALYSES)
    assert get_args(TrainableOptions.model_fields["trainable"].annotation) == tuple(WAYS)
    rules = PreferencesOptions.model_fields["rule"].annotation  # one, or a union
    assert {get_args(one.model_fields["name"].annotation)[0] for one in get_args(rules) or [rules]} == set(RULES)
    for union, there in ((IdentifierOptions, IDENTIFIERS), (MethodOptions, METHODS)):
        members = get_args(get_args(union)[0])
        assert {get_args(one.model_fields["name"].annotation)[0] for one in members} == set(there)


def test_options_become_what_they_name() -> None:
    assert identifier_of(LapeOptions(bar=0.5)) == IDENTIFIERS["lape"](bar=0.5)
    assert identifier_of(TernaryOptions(lambda_=0.1)) == IDENTIFIERS["ternary"](lambda_=0.1)
    assert method_of(PreferenceOptions(beta=0.3)) == METHODS["preference"](beta=0.3)


@pytest.mark.parametrize("root", [TrainConfig, AnalyzeOptions, ReportConfig, ResponsesOptions, IdentifiersOptions])
def test_every_default_is_one_that_its_option_takes(root: type) -> None:
    assert set(load(root, [])[1].values()) == {"default"}


@pytest.mark.parametrize(
    "root", [TrainConfig, AnalyzeOptions, ReportConfig, ResponsesOptions, PreferencesOptions, IdentifiersOptions]
)
def test_every_option_has_a_meaning(root: type) -> None:
    def without(field: Field, key: str) -> list[str]:
        below = [item for fields in field.choices.values() for item in fields.items()]
        here = [key] if key and not field.meaning and not key.endswith(".name") else []
        return here + [name for part, child in below for name in without(child, f"{key}.{part}".strip("."))]

    assert without(schema_of(root), "") == []


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ("accumulate_grad_batches=4", 4),
        ("max_time=00:12:00:00", "00:12:00:00"),
        ("max_time={hours: 2}", {"hours": 2}),
        ("max_time=null", None),
        ("gradient_clip_val=1", 1.0),
        ("devices=auto", "auto"),
        ("devices=[0,1]", [0, 1]),
        ("devices='0,'", "0,"),
        ("precision=16", 16),
        ("precision=bf16-mixed", "bf16-mixed"),
        ("strategy=ddp_find_unused_parameters_true", "ddp_find_unused_parameters_true"),
        ("limit_val_batches=0.5", 0.5),
        ("max_epochs=0.5", 0.5),
        ("deterministic=warn", "warn"),
    ],
)
def test_only_given_arguments_are_passed_to_the_trainer(given: str, passed: object) -> None:
    config, _ = load(TrainConfig, [f"trainer.{given}"])
    name = given.partition("=")[0]
    assert config.trainer == {"max_epochs": 1} | {name: passed}
    assert type(config.trainer[name]) is type(passed)  # type: ignore[literal-required]


@pytest.mark.parametrize(
    "given",
    [
        "accumulate_grad_batches=2.7",
        "accumulate_grad_batches=two",
        "accumulate_grad_batches=null",
        "accumulate_grad_batches=-1",
        "accumulate_grad_batches=true",
        "max_time=[1]",
        "max_time=12 hours",
        "max_time={fortnights: x}",
        "gradient_clip_val=.nan",
        "gradient_clip_val=.inf",
        "gradient_clip_val=-1",
        "log_every_n_steps=0",
        "accelerator=tpu",
        "accelerator=null",
        "devices=1.5",
        "devices=-2",
        "devices=[-1]",
        "devices={a: 1}",
        "num_nodes=0",
        "precision=true",
        "precision=8",
        "strategy=[ddp]",
        "strategy=null",
        "max_steps=-2",
        "max_epochs=.nan",
        "limit_train_batches=1.5",
        "use_distributed_sampler=1",
    ],
)
def test_wrong_arguments_of_the_trainer_are_refused_like_any_option(given: str) -> None:
    with pytest.raises(InputError) as caught:
        load(TrainConfig, [f"trainer.{given}"])
    (problem,) = caught.value.problems
    assert problem.where == "command line"
    assert problem.found.startswith(f"trainer.{given.partition('=')[0]}")
    assert problem.expected


@pytest.mark.parametrize(
    "given", ["run.name=" + "x" * 256, "run.name=" + "ü" * 128, "run.folder=a/" + "x" * 300, "run.name=''"]
)
def test_a_name_that_no_file_can_have_is_refused(given: str) -> None:
    with pytest.raises(InputError) as caught:
        load(TrainConfig, [given])
    assert all(problem.where == "command line" for problem in caught.value.problems[:1])


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("method.learning_rate=1e-3", "Did you mean 'method.optimizer.lr'?"),
        ("learning_rate=1e-3", "Did you mean 'method.optimizer.lr'?"),
        ("demo", "Did you mean config=demo?"),
        ("configs/demo.yaml", "Did you mean config=configs/demo.yaml?"),
    ],
)
def test_what_newcomers_write_is_told_the_right_way(
    argument: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from alignlab.train import main

    assert main([argument]) == 2
    assert says in capsys.readouterr().err
