"""`maspo train --engine verl`, `maspo doctor verl` and `maspo data to-verl`."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from maspo import files
from maspo.cli.terminal import console, say
from maspo.errors import InputError
from maspo.lab.run.folder import RunFolder
from maspo.recipes.schema import Recipe

Nodes = Annotated[int | None, typer.Option(help="verl: number of machines.")]
Gpus = Annotated[int | None, typer.Option(help="verl: GPUs of each machine.")]
Backend = Annotated[str | None, typer.Option(help="verl: fsdp, fsdp2 or megatron.")]
Sampler = Annotated[str | None, typer.Option("--rollout", help="verl: vllm or sglang.")]
DryRun = Annotated[bool, typer.Option(help="verl: check and print the command, run nothing.")]
Submit = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="verl: send it to a running Ray cluster as a job."),
]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was given on the command line for verl alone; None where it was not."""

    nodes: int | None
    gpus_per_node: int | None
    backend: str | None
    rollout: str | None
    submit: str | None
    dry_run: bool

    def refuse(self) -> None:
        """Raise InputError for the first option given, on behalf of another engine."""
        for name, value in vars(self).items():
            if value:
                raise InputError(f"--{name.replace('_', '-')} is for --engine verl")


def train(recipe: Recipe, folder: RunFolder, options: Options, *, strict: bool) -> None:
    """Translate, check, print the command in full, and run it; its exit code becomes ours."""
    from maspo.engines.verl.export import write_problems
    from maspo.engines.verl.launch import check_devices, command, prepare, printed
    from maspo.engines.verl.translate import Cluster, data_parallel, extras
    from maspo.recipes import dump_recipe, plan

    given = {
        k: v for k, v in vars(options).items() if k not in ("submit", "dry_run") and v is not None
    }
    cluster = Cluster(**given)
    settings = prepare(recipe, cluster, folder.path.absolute(), strict=strict)
    for line in plan(recipe, data_parallel(cluster, dict(extras(recipe)))):
        say(line)
    if recipe.trl:
        say(
            f"note       the section trl ({', '.join(recipe.trl)}) is for TRL: verl has no use for it"
        )
    words = command(settings, options.submit)
    say(printed(words))
    if options.dry_run:
        say(f"checked by verl; it would train {recipe.make_objective()}")
        return
    if options.submit is None:
        check_devices(cluster)
    write_problems(recipe, folder.path / "data")
    folder.create()
    files.write_text(folder.path / "recipe.yaml", dump_recipe(recipe))
    files.write_text(folder.path / "command.sh", printed(words) + "\n")
    code = subprocess.run(words, check=False).returncode
    if code:
        raise typer.Exit(code)


def doctor(recipe: Recipe) -> None:
    """Show what of ours verl has loaded, and which objective a run of the recipe would train."""
    from maspo.engines.verl import check_verl_version

    check_verl_version()
    from maspo.engines.verl.probe import report

    for line in report(recipe):
        say(line)


def to_verl(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or one of `maspo recipes`.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the two files.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key.")
    ] = None,
) -> None:
    """Write the problems of a recipe as verl reads them: train.parquet and test.parquet."""
    from maspo.engines.verl.export import write_problems
    from maspo.recipes import load_recipe

    for path, count in write_problems(load_recipe(recipe, set_ or []), out).items():
        console.print(f"{path}: {count} problems", highlight=False, soft_wrap=True)
