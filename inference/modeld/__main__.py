"""`python -m inference.modeld --socket PATH --store FOLDER [--store FOLDER …]`"""

import argparse
import logging
import sys
from pathlib import Path

from inference.runner import jail

from .server import AlreadyRunning, Server
from .supervisor import Settings, Supervisor


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="modeld", description="Runs model versions, each in a process of its own."
    )
    parser.add_argument("--socket", type=Path, required=True, help="where web and worker processes ask")
    parser.add_argument(
        "--store", type=Path, required=True, action="append", help="folder of model files; repeatable"
    )
    parser.add_argument(
        "--idle", type=float, default=900, help="seconds after which an unused runner is stopped"
    )
    parser.add_argument("--memory", type=int, default=4096, help="MiB that a runner may really occupy")
    parser.add_argument("--runners", type=int, default=1, help="of each version, at most")
    parser.add_argument(
        "--jail-optional-for-skops-and-onnx",
        action="store_true",
        help="load skops and ONNX files, and no others, also where this machine lacks a required layer of the jail",
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=jail.SWITCHES,
        metavar="LAYER",
        help="for tests only: leave out a layer of the jail, and load all the same; repeatable",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s modeld %(levelname)s %(message)s", stream=sys.stderr
    )
    settings = Settings(
        stores=tuple(options.store),
        idle=options.idle,
        resident=options.memory << 20,
        copies=max(1, options.runners),
        is_jail_optional_for_skops_and_onnx=options.jail_optional_for_skops_and_onnx,
        without=tuple(options.without),
    )
    try:
        Server(options.socket, Supervisor(settings)).run()
    except AlreadyRunning as error:
        parser.exit(3, f"modeld: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
