"""What comes with the package to start a recipe on several devices: accelerate reads it, and it runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from run_case import ENVIRONMENT, SHORT_RECIPE
from typer.testing import CliRunner

from sparsezoo_hub.cli.recipes import recipes
from sparsezoo_hub.training.recipe_library import launch_files, recipe_names

CONFIGURATIONS = {name: path for name, path in launch_files().items() if path.suffix == ".yaml"}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_accelerate_knows_every_setting_and_starts_so_many_processes(name: str) -> None:
    path = CONFIGURATIONS[name]
    config = load_config_from_file(str(path))
    assert isinstance(config, ClusterConfig)
    known = config.__dict__.keys()
    assert yaml.safe_load(path.read_text()).keys() <= known
    assert config.num_processes == int("".join(filter(str.isdigit, name.removesuffix("fsdp2"))))
    arguments = ["--config_file", str(path), "-m", "sparsezoo_hub.train"]
    launch, _, _ = _validate_launch_command(launch_command_parser().parse_args(arguments))
    assert launch.multi_gpu == (config.num_processes > 1 and "fsdp" not in name)
    assert launch.use_fsdp == ("fsdp" in name)
    for key, value in config.fsdp_config.items():
        assert getattr(launch, key) == value, key  # an unknown one would be set without a word
        assert key in vars(launch_command_parser().parse_args(["train.py"])), key


def test_they_are_printed_by_name_and_are_no_recipes() -> None:
    names = CliRunner().invoke(recipes, ["accelerate"]).stdout.split()
    assert names == ["1-gpu", "4-gpu", "8-gpu", "8-gpu-fsdp2", "cpu-2-processes", "slurm"]
    for name, path in launch_files().items():
        assert CliRunner().invoke(recipes, ["accelerate", name]).stdout == path.read_text()
    assert not any(name.startswith("accelerate") for name in recipe_names())


def test_the_script_for_slurm_is_one_that_bash_reads_and_requeues_what_was_interrupted(
    tmp_path: Path,
) -> None:
    # Slurm's commands, as far as the script needs them: srun is one task, and ends with the code it is told.
    for name, body in {
        "srun": 'shift 2; SLURM_PROCID=3 SLURM_LOCALID=1 "$@"',
        "scontrol": 'if [ "$1" = show ]; then echo first; echo second; else echo "scontrol $*"; fi',
        "python": 'echo "$RANK $LOCAL_RANK $WORLD_SIZE $MASTER_ADDR $*"; exit $CODE',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    said = {}
    for code in (0, 75, 1):
        slurm = {"JOB_ID": "7", "JOB_NODELIST": "n[1-2]", "NTASKS": "4", "NTASKS_PER_NODE": "2"}
        slurm |= {"CPUS_PER_TASK": "1"}
        completed = subprocess.run(
            ["/bin/bash", str(launch_files()["slurm"]), "R.yaml", "--out", "a b"],
            env={
                "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
                "CODE": str(code),
                **{f"SLURM_{name}": value for name, value in slurm.items()},
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert completed.returncode == code, completed.stderr
        said[code] = completed.stdout.splitlines()
    task = "3 1 4 first -m sparsezoo_hub.train R.yaml --out a b"
    assert said == {0: [task], 75: [task, "scontrol requeue 7"], 1: [task]}


@pytest.mark.distributed
def test_accelerate_launch_trains_on_two_processes_of_a_cpu(texts: list[Path], tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    first = SHORT_RECIPE[: SHORT_RECIPE.index("  - name: student")]
    recipe.write_text(f"{first}\npackage: teacher\n")
    launch = ["accelerate.commands.launch", "--config_file", str(CONFIGURATIONS["cpu-2-processes"])]
    given = [argument for text in texts for argument in ("--text", str(text))]
    completed = subprocess.run(
        [
            *(sys.executable, "-m", *launch, "-m", "sparsezoo_hub.train", str(recipe), *given),
            *("--max-steps", "2", "--per-device-batch", "2", "--out", str(tmp_path / "run")),
        ],
        env={**ENVIRONMENT, "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert completed.stdout.count("package: ") == 1
    assert (tmp_path / "run" / "package" / "model.safetensors").is_file()
