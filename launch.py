"""python launch.py --config=FILE.py[:variant] [--config.KEY=VALUE ...] [--workdir=DIR] [--mode=MODE]

Modes: train (the default) | evaluate | encode | sample | ceiling | sweep. Without --workdir a new folder in results/ is
made; with that of a run, the run goes on; so does a sweep, in results/collapse/. Exit codes: 0 done, 2 refused, 3
non-finite, 4 stopped for a collapsed latent, 75 interrupted and saved, 1 anything else.
"""

import functools
import pathlib
import signal
import sys
import time

from hexjax import cells
from hexjax import config as configuration

BEGAN = time.monotonic()


def main(arguments: list[str]) -> int:
    """The exit code of a command line; a refused one loads no JAX and makes no folder."""
    if "--help" in arguments:
        print(__doc__)
        return configuration.DONE
    try:
        command = configuration.parse(arguments)
        for line in command.warnings:
            print(f"launch.py: warning: {line}", file=sys.stderr)
        configuration.set_environment()
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        from hexjax.evaluation import evaluate, memory
        from hexjax.training import step

        if command.mode not in ("encode", "sweep"):
            memory.check(command.config)
        start = time.monotonic()
        loaded = step.load(command.config, command.mode)
        if command.mode in ("train", "evaluate", "ceiling"):
            evaluate.check(loaded[0])
    except ValueError as refusal:
        print(f"launch.py: {refusal}", file=sys.stderr)
        return configuration.REFUSED
    return run(command, *loaded, time.monotonic() - start)


def run(command: configuration.Command, items: list, family, data, loaded: float | None = None) -> int:
    """The exit code of a command whose shapes, family and training data are loaded, in so many seconds."""
    from hexjax.evaluation import evaluate, sample
    from hexjax.training import checkpoint, fingerprint, lock, loop, record, sweep

    config, mode = command.config, command.mode
    folder = command.workdir or (
        sweep.folder(config) if mode == "sweep" else record.new_folder(pathlib.Path("results"), command.name)
    )
    print(f"{mode} in {folder}", file=sys.stderr)
    try:
        _held = lock.take(folder) if mode in configuration.WRITING else None
        if mode not in ("ceiling", "sweep"):
            fingerprint.check(items, folder, mode == "train", is_made=not config.data.path)
    except ValueError as refusal:
        print(f"launch.py: {refusal}", file=sys.stderr)
        return configuration.REFUSED
    record.write_header(folder, command.line, command.json, config.data.path)
    if mode == "train":
        fingerprint.keep(items, folder)
    times = {"loaded": loaded, "began": BEGAN}
    score = functools.partial(
        evaluate.evaluate, family, items=items, config=config, folder=folder, ceilings={}, **times
    )
    if mode == "train":
        return loop.train(family, config, data, folder, score)
    if mode == "sweep":
        sweep.run(config, cells.read(config), items, folder)
    elif mode == "ceiling":
        evaluate.ceiling(items, config, folder, **times)
    else:
        params, _, step = checkpoint.restore_params(folder)
        if mode == "evaluate":
            score(params, step=step, own=configuration.load(folder))
        elif mode == "sample":
            sample.sample(family, params, config, folder, items, step)
        else:
            evaluate.encode(family, params, items, config, folder)
    return configuration.DONE


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:  # outside the training loop, which saves first
        print("launch.py: interrupted; what was written before stays", file=sys.stderr)
        sys.exit(configuration.INTERRUPTED)
