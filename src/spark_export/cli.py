"""The command `spark-export`: finds out what is asked, and has it done."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from spark_export.commands.arguments import Arguments, WrongUsage, make_parser
from spark_export.errors import SettingsError
from spark_export.settings import load_settings

WRONG_USAGE = 2
INTERRUPTED = 128 + signal.SIGINT
BROKEN_PIPE = 128 + signal.SIGPIPE


def main(arguments: list[str] | None = None) -> None:
    """Run the command and end with its status: 1 where it failed, as where a setting cannot be used."""
    _open_standard_streams()
    parsed = make_parser().parse_args(arguments, Arguments())
    try:
        status = COMMANDS[parsed.command](parsed)
        sys.stdout.flush()
    except SettingsError as error:
        sys.exit(f"spark-export: {error}")
    except WrongUsage as error:
        print(f"spark-export {parsed.command}: {error}", file=sys.stderr)  # noqa: T201 - as argparse does
        sys.exit(WRONG_USAGE)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # What is left to write has no reader: Python must not try it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)
    sys.exit(status)


def _open_standard_streams() -> None:
    """Put something in the place of closed ones: what is opened next would be taken for them."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for as long as the process


def _serve(parsed: Arguments) -> int:
    from spark_export.commands.serve import serve  # what each command alone needs is loaded by it alone

    serve(load_settings(**parsed.settings))
    return 0


def _export(parsed: Arguments) -> int:
    if parsed.url is not None:
        return _export_by_service(parsed)
    if flags := parsed.of_service:
        raise WrongUsage(f"{', '.join(flags)} goes with --url")
    from spark_export.commands.export import export

    return export(parsed, load_settings(**parsed.settings))


def _export_by_service(parsed: Arguments) -> int:
    if parsed.settings:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in parsed.settings)
        raise WrongUsage(f"{flags}: the service has settings of its own, which --url leaves to it")
    from spark_export.commands.remote import export_by_service

    return export_by_service(parsed)


def _verify(parsed: Arguments) -> int:
    from spark_export.commands.verify import verify

    return verify(parsed)


def _check(parsed: Arguments) -> int:
    from spark_export.commands.check import check

    return check(parsed.settings)


def _print_config(parsed: Arguments) -> int:
    from spark_export.commands.config import config_lines

    print(*config_lines(load_settings(**parsed.settings), parsed.settings), sep="\n")  # noqa: T201 - its purpose
    return 0


COMMANDS: dict[str, Callable[[Arguments], int]] = {
    "serve": _serve,
    "export": _export,
    "verify": _verify,
    "check": _check,
    "print-config": _print_config,
}


if __name__ == "__main__":
    main()
