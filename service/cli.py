"""``spikeserve``: serve models, classify files without a server, list bundles."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Collection, Sequence
from io import StringIO
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spikeserve.models.bundle import load_manifest
from spikeserve.models.classifier import load
from spikeserve.models.energy.hardware import load_profile
from spikeserve.models.errors import ModelError
from spikeserve.models.terminal import delivered
from spikeserve.service.energy_table import energy_table
from spikeserve.service.errors import ServiceError, describe
from spikeserve.service.images import decode_image, decoded_recording
from spikeserve.service.keys import key_hash
from spikeserve.service.old_names import OLD_NAMES
from spikeserve.service.server import serve
from spikeserve.service.settings import CONFIG, Settings, unknown_variables
from spikeserve.service.supervisor import supervise

BAR_WIDTH = 12
PICTURE_WIDTH, NARROWEST = 118, 72
ABOUT_BUNDLE = "folder, or name of a bundle that ships; several times: the first is the default"
LOCAL = ("bundles", "engine", "engine_threads", "max_pixels", "energy_profile")
"""What matters without a server."""


def main(arguments: Sequence[str] | None = None) -> int:
    return delivered(lambda: _main(arguments), "spikeserve")


def _main(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    if options.config:
        os.environ[CONFIG] = str(options.config)
    flags = {
        name: getattr(options, name)
        for name in (*Settings.model_fields, *OLD_NAMES)
        if getattr(options, name, None) is not None
    }
    for name in unknown_variables(os.environ):
        print(f"spikeserve: {name} is no setting; see --help", file=sys.stderr)
    try:
        settings = Settings(**flags)
        match options.command:
            case "serve":
                return supervise(settings) if settings.workers > 1 else serve(settings)
            case "classify":
                return _classify(settings, options)
            case "models":
                _models(settings)
            case "energy":
                _energy(settings, options)
            case "key":
                _new_key()
    except ValidationError as error:
        file = os.environ.get(CONFIG)
        where = f" (flags, environment, {file})" if file else ""
        return _refuse(f"settings{where}: {describe(error.errors())}")
    except BrokenPipeError:
        raise
    except (ModelError, OSError, SettingsError, TOMLDecodeError, UnicodeError) as error:
        return _refuse(str(error))
    return 0


def _refuse(message: str) -> int:
    shown = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in message)
    print(f"spikeserve: {shown}", file=sys.stderr)
    return 1


def _new_key() -> None:
    key = secrets.token_urlsafe(32)
    print(f"key:    {key}")
    print(f"sha256: {key_hash(key)}  (for SPIKESERVE_API_KEY_HASHES or _ADMIN_KEY_HASH)")


def _classify(settings: Settings, options: argparse.Namespace) -> int:
    model = load(
        settings.bundles[0], settings.engine, settings.engine_threads, settings.energy_profile
    )
    manifest = model.manifest
    policy = manifest.policy(
        options.entropy_threshold, options.min_timesteps, options.max_timesteps
    )
    table = Table(
        title=f"{manifest.name} {manifest.version}, {model.engine.name} engine, "
        f"entropy threshold {policy.entropy_threshold}"
    )
    table.add_column("image", min_width=12, overflow="fold")
    for heading in ("class", "p", "t", "entropy by timestep", "µJ", "saved"):
        table.add_column(heading, no_wrap=True)
    failed = False
    for path in options.images:
        try:
            data = path.read_bytes()
            pixels = (
                decode_image(data, manifest.network.input_shape, settings.max_pixels)
                if manifest.encoding.takes_images
                else decoded_recording(data, manifest.input_shape)
            )
        except (OSError, ServiceError) as error:
            print(f"spikeserve: {path}: {error}", file=sys.stderr)
            failed = True
            continue
        answer = model.classify(
            pixels,
            threshold=policy.entropy_threshold,
            min_timesteps=policy.min_timesteps,
            max_timesteps=policy.max_timesteps,
        )
        table.add_row(
            escape(path.name),
            escape(answer.label),
            f"{answer.probability:.3f}",
            f"{answer.timesteps_used}/{manifest.timesteps}",
            "\n".join(_bar(entropy) for entropy in answer.entropies),
            f"{answer.energy.total_pj / 1e6:.2f}",
            f"{answer.energy.saved_ratio:.0%}",
        )
    _console().print(table)
    return 1 if failed else 0


def _energy(settings: Settings, options: argparse.Namespace) -> None:
    manifest = load_manifest(options.bundle or settings.bundles[0])
    profile = load_profile(settings.energy_profile)
    console = _console()
    width, coloured = console.width, console.color_system is not None
    console.print(energy_table(manifest, profile, options.timesteps, width, coloured))
    if options.svg:
        table = energy_table(manifest, profile, options.timesteps, PICTURE_WIDTH, True)
        picture = Console(record=True, file=StringIO(), width=PICTURE_WIDTH)
        picture.print(table)
        options.svg.write_text(
            picture.export_svg(title=f"{manifest.name} on {profile.name}"), encoding="utf-8"
        )


def _console() -> Console:
    """As wide as stdout, but no narrower than a table can be read."""
    return Console(width=max(Console().width, NARROWEST))


def _bar(entropy: float) -> str:
    filled = round(entropy * BAR_WIDTH)
    return f"{'█' * filled}{'·' * (BAR_WIDTH - filled)} {entropy:.3f}"


def _models(settings: Settings) -> None:
    table = Table()
    table.add_column("model, path", overflow="fold")
    for heading in ("T", "encoding", "threshold", "accuracy", "⌀ t"):
        table.add_column(heading, no_wrap=True)
    for path in settings.bundles:
        manifest = load_manifest(path)
        evaluation = manifest.evaluation
        table.add_row(
            f"{manifest.name} {manifest.version}\n{path}",
            str(manifest.timesteps),
            manifest.encoding.kind,
            str(manifest.exits.default_entropy_threshold),
            f"{evaluation.default.accuracy:.2%}" if evaluation else "–",
            f"{evaluation.default.average_timesteps:.3f}" if evaluation else "–",
        )
    _console().print(table)


class _Parser(argparse.ArgumentParser):
    """Flags of former names stay hidden: they make no abbreviation of another ambiguous."""

    def _get_option_tuples(self, option_string: str) -> list[Any]:
        found = super()._get_option_tuples(option_string)
        return [option for option in found if option[0].help != argparse.SUPPRESS] or found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="spikeserve",
        description=__doc__,
        epilog="check and import bring networks of other frameworks: spikeserve import --help",
    )
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)

    def command(name: str, about: str, fields: Collection[str]) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about, description=about)
        sub.add_argument("--config", type=Path, help="TOML file with settings")
        for field in fields:
            info = Settings.model_fields[field]
            if field == "bundles":  # one flag a folder, so that file names may follow
                sub.add_argument(
                    "--bundle", action="append", dest=field, metavar="FOLDER", help=ABOUT_BUNDLE
                )
            else:
                default = "" if info.default in (None, (), "") else f" (default: {info.default})"
                sub.add_argument(_flag(field), help=f"{info.description}{default}")
        return sub

    serve = command("serve", "serve bundles over HTTP", Settings.model_fields)
    for name in OLD_NAMES:
        serve.add_argument(_flag(name), help=argparse.SUPPRESS)
    command("models", "list bundles and their measured accuracy", ("bundles",))
    command("key", "make an API key and the hash of it that the settings want", ())
    energy = command("energy", "what a bundle would cost on a chip, timestep by timestep", ())
    energy.add_argument("bundle", nargs="?", type=Path, help="bundle folder (default: the first)")
    energy.add_argument(
        "--profile", dest="energy_profile", help=Settings.model_fields["energy_profile"].description
    )
    energy.add_argument(
        "--timesteps", type=int, help="look so far; beyond the bundle's T, as its last timestep"
    )
    energy.add_argument("--svg", type=Path, metavar="FILE", help="save the picture as well")
    local = command("classify", "classify image files without a server", LOCAL)
    local.add_argument("images", nargs="+", type=Path)
    local.add_argument("--entropy-threshold", type=float)
    local.add_argument("--min-timesteps", type=int)
    local.add_argument("--max-timesteps", type=int)
    return parser


def _flag(setting: str) -> str:
    return f"--{setting.replace('_', '-')}"


if __name__ == "__main__":
    sys.exit(main())
