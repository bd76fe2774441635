"""``spiketrain``: from a data set and a recipe to a bundle."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spikeserve.models.errors import ModelError
from spikeserve.models.terminal import delivered
from spikeserve.training.errors import TrainingError, TrainingPaused

if TYPE_CHECKING:
    from spikeserve.training.ann_start import AnnStart

TRAIN_EXTRA = ("torch", "onnx")
INSTALL = "pip install 'spikeserve[train]'"
PAUSED = 75  # sysexits.h: try again later
INTERRUPTED = 130  # as shells have it for SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    return delivered(lambda: _main(arguments), "spiketrain")


def _main(arguments: Sequence[str] | None) -> int:
    if (reason := unusable()) is not None:
        print(f"spiketrain: {reason}", file=sys.stderr)
        return 1
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except TrainingPaused as pause:
        print(f"spiketrain: {pause}", file=sys.stderr)
        return PAUSED
    except BrokenPipeError:
        raise
    except (TrainingError, ModelError, OSError) as error:
        print(f"spiketrain: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("spiketrain: stopped; what has finished is kept (--resume)", file=sys.stderr)
        return INTERRUPTED
    return 0


def unusable() -> str | None:
    """Why nothing can be trained here, if nothing can: the libraries that serving does without."""
    try:
        from spikeserve.training import pipeline  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name in TRAIN_EXTRA:
            return f"training needs {error.name}, which serving does without: {INSTALL}"
        return _broken(error)
    except (ImportError, OSError) as error:  # what an uninstall left; OSError: shared libraries
        return _broken(error)
    return None


def _broken(error: ImportError | OSError) -> str:
    if str(getattr(error, "name", None)).startswith("spikeserve"):
        raise error
    reason = (str(error) or repr(error)).splitlines()[0]
    return f"training's libraries are not whole: {reason}: {INSTALL}"


def _run(options: argparse.Namespace) -> None:
    from spikeserve.training import data_command, new_command, pipeline

    match options.command:
        case "data":
            data_command.run(options)
        case "new":
            new_command.run(options)
        case "evaluate":
            pipeline.evaluate(options.bundle, options.data)
        case "card":
            pipeline.write_card(options.bundle)
        case _:
            _run_recipe(options)


def _run_recipe(options: argparse.Namespace) -> None:
    from spikeserve.training import pipeline
    from spikeserve.training.data_parallel import ProcessGroup
    from spikeserve.training.run import Run

    run = Run.of(options.recipe, options.data, options.run)
    if options.trial is not None:
        run = run.trial(options.trial)
    bundle = getattr(options, "bundle", None) or run.folder / "bundle"
    if options.command in ("fit", "all"):
        pipeline.fit(
            run,
            resume=options.resume,
            start_from=options.start_from,
            minutes=options.minutes,
            ann=_ann(options),
        )
        if not ProcessGroup.from_environment().is_main:
            return
    if options.command in ("quantize", "all"):
        pipeline.quantize(run)
    if options.command in ("calibrate", "all"):
        pipeline.calibrate(run)
    if options.command in ("export", "all"):
        pipeline.export(run, bundle)
    if options.command == "all":
        pipeline.evaluate(bundle, run.dataset_root, run.recipe.data.fraction)


def _ann(options: argparse.Namespace) -> AnnStart | None:
    from spikeserve.training.ann_start import AnnStart

    if options.from_ann is None:
        if options.ann_mean or options.ann_std:
            raise TrainingError(
                "--ann-mean and --ann-std say how the network of --from-ann saw pixels"
            )
        return None
    return AnnStart(options.from_ann, options.ann_mean or (), options.ann_std or ())


def _parser() -> argparse.ArgumentParser:
    from spikeserve.training import data_command, new_command
    from spikeserve.training.options import minutes, numbers, share

    parser = argparse.ArgumentParser(prog="spiketrain", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, about: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about, description=about)
        sub.add_argument("--data", type=Path, default=Path("data"), help="where data sets lie")
        return sub

    data_command.add_arguments(command("data", data_command.ABOUT))
    new = commands.add_parser("new", help=new_command.ABOUT, description=new_command.ABOUT)
    new_command.add_arguments(new)
    for name, about in {
        "fit": "train a recipe's stages",
        "quantize": "round the trained network to the integer program",
        "calibrate": "choose temperatures and thresholds on held-out training images",
        "export": "write the bundle",
        "all": "fit, quantize, calibrate, export and evaluate",
    }.items():
        sub = command(name, about)
        sub.add_argument("recipe", help="a name in training/recipes, or a path to a .toml")
        sub.add_argument("--run", type=Path, help="run folder (default: runs/<name>)")
        sub.add_argument(
            "--trial",
            type=share,
            metavar="SHARE",
            help="only this share of the data, one epoch a stage, small batches: does it all work?",
        )
        if name in ("fit", "all"):
            sub.add_argument("--resume", action="store_true", help="go on where the run stopped")
            sub.add_argument(
                "--minutes",
                type=minutes,
                help="stop before the epoch that would take longer, but not before the first; "
                f"exit status {PAUSED}",
            )
            sub.add_argument(
                "--from",
                dest="start_from",
                type=Path,
                metavar="RUN",
                help="start with copies of the stages that the run in folder RUN has finished",
            )
            sub.add_argument(
                "--from-ann",
                type=Path,
                metavar="FILE",
                help="a ReLU network's state dict (.pt, .safetensors) in place of the first stage",
            )
            for part in ("mean", "std"):
                sub.add_argument(
                    f"--ann-{part}",
                    type=numbers,
                    metavar="R,G,B",
                    help=f"{part} by which that network's pixels, 0…1, were normalised",
                )
        if name in ("export", "all"):
            sub.add_argument("--bundle", type=Path, help="where to (default: <run>/bundle)")
    for name, about in {
        "evaluate": "measure a bundle on the test set and update its card",
        "card": "regenerate a bundle's CARD.md",
    }.items():
        command(name, about).add_argument("bundle", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())
