"""What a command line may say: every refusal's text, the resumed run's freedom, and what is written to config.json."""

import fnmatch
import json
import math
import os
import pathlib
import subprocess
import sys

import pytest

from configs import base, vae_binary
from hexjax import config as configuration
from hexjax import names, rules, unread

ROOT = pathlib.Path(__file__).parent.parent
ACCEPTED = "accepted: the folder of a run, an empty folder, or a new one"
CONFIG = f"--config={ROOT / 'configs' / 'ae_continuous.py'}"
SMALL = f"{CONFIG}:small"

REFUSED = {
    (): "no --config; accepted: --config=FILE.py or FILE.py:variant, or --workdir=DIR of a run; -h tells more",
    ("--config",): "Missing value for flag --config",
    (
        "--confg=a.py",
    ): "unknown flag --confg; flags: --config, --workdir, --mode, --out, --address, --config.KEY; nearest: --config",
    (SMALL, "--steps=5"): "unknown flag --steps; flags: --config, --workdir, --mode, --out, --address, --config.KEY",
    (SMALL, "config.train.steps=3"): (
        "stray argument 'config.train.steps=3'; accepted: --config, --workdir, --mode, --out, --address, --config.KEY=VALUE; "
        "did you mean --config.train.steps=3?"
    ),
    (
        SMALL,
        "head.ply",
    ): "stray argument 'head.ply'; accepted: --config, --workdir, --mode, --out, --address, --config.KEY=VALUE",
    (SMALL, "--config.train.steps"): "--config.train.steps has no value; accepted: --config.train.steps=VALUE",
    (
        SMALL,
        "--mode=trian",
    ): "--mode is 'trian'; modes: train, evaluate, encode, sample, ceiling, sweep, view, export; nearest: train",
    ("--mode=evaluate", SMALL): "--mode=evaluate reads a trained run; accepted: --workdir=DIR of one, got None",
    ("--config=ae",): "--config is 'ae': no such file; nearest: ae_continuous.py, ae_heads.py, ae_shapes.py",
    ("--config=ae_continous:small",): "--config is 'ae_continous:small': no such file; nearest: ae_continuous.py",
    ("--config=:small",): "--config is ':small'; accepted: FILE.py or FILE.py:variant",
    ("--config=configs/nothing_like_it.py",): "--config is 'configs/nothing_like_it.py': no such file",
    ("--config=configs/ae_continous.py",): (
        "--config is 'configs/ae_continous.py': no such file; nearest: ae_continuous.py"
    ),
    (f"{CONFIG}:smal",): "config variant is 'smal'; variants of ae_continuous: published, small",
    ("--config=configs/base.py:small",): "config variant is 'small'; base has no variants",
    (SMALL, "--workdir=README.md"): f"--workdir is 'README.md', a file; {ACCEPTED}",
    (SMALL, "--config.kl.warmup_stepz=1"): "config.kl.warmup_stepz is unknown; nearest: kl.warmup_steps",
    (SMALL, "--config.learning_rate=1"): "config.learning_rate is unknown; nearest: optimiser.learning_rate",
    (SMALL, "--config.optimiser=adam"): (
        "config.optimiser is a section; its keys: optimiser.beta2, optimiser.clip_norm, optimiser.decay, "
        "optimiser.epsilon, optimiser.halve_every_steps, optimiser.kind, optimiser.learning_rate, optimiser.warmup_steps"
    ),
    (SMALL, "--config.optimiser.scale=0"): (
        "config.optimiser.scale is a section; its keys are optimiser.scale.NAME, groups of parameters"
    ),
    (SMALL, "--config.optimiser.scale.encoder=-1"): (
        "config.optimiser.scale.encoder is -1.0; accepted: a number, finite, at least 0"
    ),
    (SMALL, "--config.optimiser.scale.encoder=off"): (
        "config.optimiser.scale.encoder is 'off'; accepted: a number, finite, at least 0"
    ),
    (SMALL, "--config.optimiser.scal.encoder=0"): (
        "config.optimiser.scal.encoder is unknown; nearest: optimiser.clip_norm"
    ),
    (SMALL, "--config.optimiser.decay=half"): "config.optimiser.decay is 'half'; accepted: none | cosine | halving",
    (SMALL, "--config.train.ema=1"): "config.train.ema is 1.0; accepted: a number from 0, below 1; 0 switches it off",
    (SMALL, "--config.train.steps=2.5"): "config.train.steps is '2.5'; accepted: a whole number, at least 1",
    (SMALL, "--config.train.steps=3e3"): "config.train.steps is '3e3'; accepted: a whole number, at least 1",
    (SMALL, "--config.train.steps=-5"): "config.train.steps is -5; accepted: a whole number, at least 1",
    (SMALL, "--config.seed=99999999999"): ("config.seed is 99999999999; accepted: a whole number from 0 to 2147483647"),
    (SMALL, "--config.optimiser.learning_rate=abc"): (
        "config.optimiser.learning_rate is 'abc'; accepted: a number, finite, above 0"
    ),
    (SMALL, "--config.optimiser.learning_rate=nan"): (
        "config.optimiser.learning_rate is nan; accepted: a number, finite, above 0"
    ),
    (SMALL, "--config.optimiser.learning_rate=inf"): (
        "config.optimiser.learning_rate is inf; accepted: a number, finite, above 0"
    ),
    (SMALL, "--config.optimiser.clip_norm=nan"): (
        "config.optimiser.clip_norm is nan; accepted: a number above 0; inf switches it off"
    ),
    (SMALL, "--config.kl.cap=1.5"): ("config.kl.cap is 1.5; accepted: a number above 0, at most 1; 1 switches it off"),
    (SMALL, "--config.data.cached=yes"): "config.data.cached is 'yes'; accepted: true | false",
    (SMALL, "--config.model.widths=sdf,mesh"): (
        "config.model.widths is 'sdf,mesh'; accepted: a value of the type in the config file"
    ),
    (SMALL, "--config.latent.kind=gausian"): (
        "config.latent.kind is 'gausian'; accepted: deterministic | gaussian | vamp_prior | flow_prior | bernoulli | "
        "categorical | fsq"
    ),
    (SMALL, "--config.latent.codes=1"): "config.latent.codes is 1; accepted: a whole number from 2 to 65536",
    (SMALL, "--config.kl.prior_variance=0"): "config.kl.prior_variance is 0.0; accepted: a number, finite, above 0",
    (SMALL, "--config.kl.final_weight=-1"): "config.kl.final_weight is -1.0; accepted: a number, finite, at least 0",
    (SMALL, "--config.kl.cap=0"): "config.kl.cap is 0.0; accepted: a number above 0, at most 1; 1 switches it off",
    (SMALL, "--config.witness.classes=1"): (
        "config.witness.classes is 1; accepted: 0 (no witness) or a whole number, at least 2"
    ),
    (SMALL, "--config.witness.classes=8"): (
        "config.witness.classes is 8 and there is one shape: it is NOT-CERTIFIABLE, its latent can hold no information; "
        "accepted: witness.classes = 0, or at least 9 shapes"
    ),
    (SMALL, "--config.witness.classes=8", "--config.data.count=4"): (
        "config.witness.classes is 8; accepted: at most the number of shapes, 4"
    ),
    (SMALL, "--config.witness.classes=2", "--config.data.count=8"): (
        "config.witness.components is 8; accepted: fewer than the shapes, 8"
    ),
    (SMALL, "--config.witness.classes=2", "--config.data.count=9", "--config.data.cached=false"): (
        "config.data.cached is False; accepted with witness.classes = 2: true"
    ),
    (SMALL, "--config.witness.classes=2", "--config.data.count=9", "--config.witness.floor=0"): (
        "config.witness.floor is 0.0; accepted: a number above 0, below 1"
    ),
    (SMALL, "--config.kl.cap=0.1", "--config.model.input=depth", "--config.reconstruction.kind=calibrated_gaussian"): (
        "config.kl.cap is 0.1; accepted with reconstruction.kind = calibrated_gaussian: 1, as nats of a density may be "
        "negative, and then a share of them is none"
    ),
    (SMALL, "--config.witness.classes=8", "--config.data.count=9", "--config.witness.floor=0.2"): (
        "config.witness.floor is 0.2; accepted: above 0, below 1 / witness.classes = 0.125"
    ),
    (
        SMALL,
        "--config.witness.classes=99",
        "--config.data.count=99",
        "--config.latent.side=1",
        "--config.witness.floor=1e-3",
    ): (
        "config.witness.classes is 99; accepted: at most one above the latent's floats of one view, "
        "latent.side^2 x latent.channels = 64"
    ),
    (SMALL, "--config.latent.kind=categorical", "--config.latent.channels=1"): (
        "config.latent.channels is 1; accepted: at least 2, the codes of latent.kind = categorical"
    ),
    (SMALL, "--config.model.input=depth"): (
        "config.reconstruction.kind is 'surface'; accepted with model.input = depth: channels | gaussian | "
        "calibrated_gaussian | bernoulli | continuous_bernoulli"
    ),
    (
        SMALL,
        "--config.model.input=silhouette_sdf",
        "--config.reconstruction.kind=gaussian",
        "--config.data.cached=false",
    ): ("config.data.cached is False; accepted with model.input = silhouette_sdf: true"),
    (SMALL, "--mode=sweep"): (
        "--mode=sweep, and ae_continuous-small has no config.sweep; accepted: configs of configs/sweeps/"
    ),
    ("--config=configs/sweeps/collapse_cause.py", "--mode=sweep", "--config.sweep.cells=('a: kl.capp=1',)"): (
        "config.sweep.cells, a: config.kl.capp is unknown; nearest: kl.cap"
    ),
    (SMALL, "--out=page.html"): "--out is 'page.html'; accepted with --mode=export alone",
    (SMALL, "--mode=export", "--out=a.html", "--address=127.0.0.1:1"): (
        "--address is '127.0.0.1:1'; accepted with --mode=view alone"
    ),
    (SMALL, "--mode=export"): "there is no --out; accepted: --out=FILE.html",
    (SMALL, "--mode=export", "--out=page.glb"): "--out is 'page.glb'; accepted: --out=FILE.html",
    (SMALL, "--mode=export", "--out=nowhere/a.html"): (
        "--out is 'nowhere/a.html', in a folder that is not there; accepted: one in a folder that is"
    ),
    ("--mode=view", "--address=8000"): (
        "--address is '8000'; accepted: HOST:PORT, as 127.0.0.1:8000, with a port up to 65535; 0 takes a free one"
    ),
    ("--mode=view", "--address=localhost:70000"): (
        "--address is 'localhost:70000'; accepted: HOST:PORT, as 127.0.0.1:8000, with a port up to 65535; 0 takes a free "
        "one"
    ),
    ("--mode=view", "--workdir=,"): "--workdir is ','; accepted: folders of runs with commas between them",
    ("--mode=view", "--address=127.0.0.1:²"): (
        "--address is '127.0.0.1:²'; accepted: HOST:PORT, as 127.0.0.1:8000, with a port up to 65535; 0 takes a free one"
    ),
    ("--mode=view", "--workdir=nowhere"): "--mode=view shows a run; accepted: --workdir=DIR of one, got 'nowhere'",
    (SMALL, "--config.data.up=Y"): "config.data.up is 'Y'; accepted: y | z",
    (SMALL, "--config.data.path=missing.ply"): (
        "config.data.path is 'missing.ply': no such file or folder as 'missing.ply'; "
        "accepted: a mesh file, a folder of meshes or an NPZ set, or several with commas between"
    ),
    (SMALL, "--config.data.path=README.md,missing.ply"): (
        "config.data.path is 'README.md,missing.ply': no such file or folder as 'missing.ply'; "
        "accepted: a mesh file, a folder of meshes or an NPZ set, or several with commas between"
    ),
    (SMALL, "--config.data.augment=cube", "--config.model.input=depth", "--config.reconstruction.kind=gaussian"): (
        "config.data.augment is 'cube'; accepted with model.input = depth and sdf.weight = 0.1: none"
    ),
    (SMALL, "--config.data.augment=mirror", "--config.witness.classes=4", "--config.witness.weight=1"): (
        "config.data.augment is 'mirror'; accepted with a witness that trains (witness.weight, witness.prefit_steps above "
        "0, diagnostics.on_collapse = escape): none"
    ),
    (SMALL, "--config.diagnostics.on_collapse=escape"): (
        "config.latent.kind is 'deterministic'; accepted with diagnostics.on_collapse = escape: gaussian | vamp_prior | "
        "flow_prior | bernoulli | categorical"
    ),
    ("--config=vae_collapsed:small", "--config.diagnostics.on_collapse=escape", "--config.witness.classes=0"): (
        "config.witness.classes is 0; accepted with diagnostics.on_collapse = escape: above 0"
    ),
    (SMALL, "--config.data.split=(.5,.5)"): (
        "config.data.split is (0.5, 0.5); accepted: () (all shapes train) or three numbers, at least 0, of sum 1, the first "
        'above 0, as in "(0.8, 0.1, 0.1)"'
    ),
    (SMALL, "--config.sdf.pool_points=5"): "config.sdf.points is 2048; accepted: at most sdf.pool_points = 5",
    (SMALL, "--config.surface.points=70000"): (
        "config.surface.points is 70000; accepted: at most surface.pool_points = 65536"
    ),
    (SMALL, "--config.inside.points=0"): "config.inside.points is 0; accepted: a whole number, at least 1",
    (SMALL, "--config.train.batch_size=2"): "config.train.batch_size is 2; accepted: at most data.count = 1",
    (SMALL, "--config.data.source=spott"): (
        "config.data.source is 'spott'; accepted: procedural | solids | latents | demosthenes | goathead | spot"
    ),
}


def test_a_file_that_is_no_page_is_not_written_over(tmp_path):
    for name, content in (("mine.html", "<html>"), ("page.html", f"<html>{names.GENERATOR}")):
        (tmp_path / name).write_text(content)
    told = refusal(SMALL, "--mode=export", f"--out={tmp_path}/mine.html")
    assert told.endswith("mine.html', which is there and is no page of hexjax; accepted: a new file")
    assert configuration.parse([SMALL, "--mode=export", f"--out={tmp_path}/page.html"]).out == tmp_path / "page.html"


def test_a_page_needs_no_config_and_takes_an_address():
    command = configuration.parse(["--mode=view", "--address=[::1]:0", "--config.data.count=3"])
    assert (command.address, command.workdir, command.config.name) == (("::1", 0), None, "ae_continuous-small")
    assert configuration.parse(["--mode=view"]).address == ("127.0.0.1", 8000)


@pytest.fixture(autouse=True)
def root(monkeypatch):
    """Command lines are typed at the repository's root."""
    monkeypatch.chdir(ROOT)


def refusal(*arguments: str) -> str:
    """The text with which a command line is refused."""
    try:
        configuration.parse(list(arguments))
    except ValueError as error:
        return str(error)
    pytest.fail(f"accepted: {arguments}")


@pytest.mark.parametrize("arguments", REFUSED, ids=" ".join)
def test_refusal_names_what_was_got_and_what_is_accepted(arguments):
    assert refusal(*arguments) == REFUSED[arguments]


def test_unknown_family_is_refused_with_those_that_exist():
    known = ", ".join(rules.families())
    assert refusal(SMALL, "--config.model.family=vqvae") == f"config.model.family is 'vqvae'; families: {known}"


@pytest.mark.parametrize("arguments", [("--confg=a",), (SMALL, "--config.train.steps=0"), (f"{CONFIG}:smal",)])
def test_refused_command_prints_one_line_loads_no_jax_and_makes_no_folder(tmp_path, arguments):
    program = (
        "import sys; from hexjax import command; code = command.main(sys.argv[1:]); "
        "loaded = {'jax', 'flax', 'numpy'} & set(sys.modules); assert not loaded, loaded; sys.exit(code)"
    )
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("launch.py: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_config_file_that_fails_is_refused_in_one_line(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("import nothing_of_this_name\n")
    assert refusal(f"--config={file}") == (
        "broken.py gives no config: ModuleNotFoundError: No module named 'nothing_of_this_name'"
    )
    file.write_text("def get_config():\n    return undefined\n")
    assert refusal(f"--config={file}") == "broken.py gives no config: NameError: name 'undefined' is not defined"
    file.write_text("import ml_collections\ndef get_config():\n    return ml_collections.ConfigDict({'seed': 1})\n")
    assert refusal(f"--config={file}") == "config.name is missing; configs start from configs/base.py"
    text = "from configs import base\ndef get_config():\n    c = base.get_config()\n    del c.optimiser.scale\n    return c\n"
    file.write_text(text)
    assert refusal(f"--config={file}") == "config.optimiser.scale is missing; configs start from configs/base.py"


def test_own_keys_of_an_experiment_are_kept_and_not_nan(tmp_path):
    file = tmp_path / "own.py"
    text = "from configs import base\ndef get_config():\n    c = base.get_config()\n    c.own = {}\n    return c\n"
    file.write_text(text.format("{'rate': 2.0}"))
    assert configuration.parse([f"--config={file}", "--config.own.rate=3"]).config.own.rate == 3.0
    assert refusal(f"--config={file}", "--config.own.rate=nan") == "config.own.rate is nan; accepted: a number"
    file.write_text(text.format("[1, 2]"))
    assert refusal(f"--config={file}") == ("config.own is a list; accepted: a number, text, true or false, or a tuple")


def test_overrides_take_the_type_of_their_key():
    command = configuration.parse(
        [
            SMALL,
            "--config.kl.cap",
            "1",
            "--config.model.widths=(16,32)",
            "--config.data.cached=false",
            "--config.seed=4",
        ]
    )
    values = rules.flatten(command.config)
    assert (values["kl.cap"], values["model.widths"], values["data.cached"], values["seed"]) == (
        1.0,
        (16, 32),
        False,
        4,
    )
    assert type(values["kl.cap"]) is float
    assert command.config.is_locked


def test_name_of_a_run_tells_config_and_mode():
    command = configuration.parse([SMALL, "--mode=ceiling", "--config.data.path=configs/base.py", "--config.seed=2"])
    assert command.name == "ae_continuous-small-ceiling"
    assert command.mode == "ceiling"


def test_command_is_recorded_without_absolute_paths(tmp_path):
    command = configuration.parse([CONFIG, "--workdir", str(tmp_path), f"--config.data.path={tmp_path}"])
    name = tmp_path.name
    assert command.line == f"python launch.py --config=ae_continuous.py --workdir {name} --config.data.path={name}"
    assert str(tmp_path) not in configuration.to_json(command.config)


def write_run(folder: pathlib.Path, *arguments: str) -> None:
    """A folder as a run leaves it, after one checkpoint."""
    command = configuration.parse([SMALL, *arguments])
    (folder / "checkpoints" / "500").mkdir(parents=True)
    (folder / "config.json").write_text(configuration.to_json(command.config))
    (folder / "metrics.jsonl").touch()


def test_config_json_reads_back_equal(tmp_path):
    given = "--config.optimiser.scale.encoder=0"
    write_run(tmp_path, given)
    loaded, expected = configuration.load(tmp_path), configuration.parse([SMALL, given]).config
    assert rules.flatten(loaded) == rules.flatten(expected)
    assert loaded.kl.log_variance_limit == math.inf
    json.loads((tmp_path / "config.json").read_text(), parse_constant=pytest.fail)


def test_resumed_run_may_change_steps_and_intervals_only(tmp_path):
    write_run(tmp_path)
    workdir = f"--workdir={tmp_path}"
    longer = configuration.parse([workdir, "--config.train.steps=9000", "--config.log.every_steps=1"])
    assert (longer.config.train.steps, longer.workdir) == (9000, tmp_path)
    assert refusal(SMALL, workdir, "--config.seed=1", "--config.kl.cap=0.5") == (
        f"--workdir={tmp_path} holds a run with other values of kl.cap (1.0 there, 0.5 here), seed (0 there, 1 here); "
        "may differ: train.steps, *.every_steps, diagnostics.on_collapse, evaluate.*"
    )


def test_run_is_never_asked_for_fewer_steps_than_it_has(tmp_path):
    write_run(tmp_path)
    assert refusal(f"--workdir={tmp_path}", "--config.train.steps=499") == (
        "config.train.steps is 499; accepted: at least 500, where the run stands"
    )


def test_a_file_that_gives_no_config_is_refused(tmp_path):
    file = tmp_path / "nothing.py"
    file.write_text("def get_config():\n    return None\n")
    assert refusal(f"--config={file}") == (
        "nothing.py gives no config: TypeError: get_config gives a NoneType, accepted: an ml_collections.ConfigDict"
    )
    file.write_text("def get_config():\n    return 1 / 0\n")
    assert refusal(f"--config={file}") == "nothing.py gives no config: ZeroDivisionError: division by zero"


def test_the_ceiling_needs_no_network_that_fits():
    assert configuration.parse([SMALL, "--mode=ceiling", "--config.hexplane.resolution_px=100"]).mode == "ceiling"


def test_other_modes_need_only_the_folder(tmp_path):
    write_run(tmp_path)
    command = configuration.parse([f"--workdir={tmp_path}", "--mode=evaluate", "--config.extract.grid=64"])
    assert (command.mode, command.config.extract.grid, command.config.hexplane.resolution_px) == ("evaluate", 64, 128)
    assert refusal(f"--workdir={tmp_path}", "--mode=encode", "--config.latent.channels=8") == (
        f"--workdir={tmp_path} holds a run with other values of latent.channels (64 there, 8 here); "
        "may differ: train.steps, *.every_steps, evaluate.*, data.*, extract.*, score.*, sample.*, export.*, "
        "diagnostics.*, latent.bits"
    )


def test_ceiling_never_writes_over_the_scores_of_a_run(tmp_path):
    write_run(tmp_path)
    assert configuration.parse([f"--workdir={tmp_path}", "--mode=ceiling"]).workdir is None


def test_damaged_config_json_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"seed": ')
    assert refusal(f"--workdir={tmp_path}") == (
        f"{tmp_path.name}/config.json cannot be read: Expecting value: line 1 column 10 (char 9)"
    )


def test_data_path_is_found_again_and_compared_by_file_name(tmp_path):
    mesh = tmp_path / "head.ply"
    mesh.touch()
    write_run(tmp_path / "run", f"--config.data.path={mesh}")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["data"]["path"] == "head.ply"
    (tmp_path / "run" / "checkpoints" / "data_path.txt").write_text(str(mesh))
    assert configuration.parse([f"--workdir={tmp_path / 'run'}"]).config.data.path == str(mesh)
    moved = tmp_path / "moved" / "head.ply"
    moved.parent.mkdir()
    mesh.rename(moved)
    resumed = configuration.parse([SMALL, f"--workdir={tmp_path / 'run'}", f"--config.data.path={moved}"])
    assert resumed.config.data.path == str(moved)


def test_any_name_of_a_mesh_goes_into_a_run_and_out_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real").touch()
    for name in ("a,b.obj", "a\r\n b.obj", "a\udcff.obj", "頭.obj"):
        (tmp_path / name).symlink_to("real")
        (tmp_path / "run" / "checkpoints").mkdir(parents=True, exist_ok=True)
        command = configuration.parse([SMALL, f"--config.data.path={name}"])
        (tmp_path / "run" / "config.json").write_text(command.json)
        place = tmp_path / "run" / "checkpoints" / "data_path.txt"
        place.write_bytes(os.fsencode(names.absolute(name)))
        again = configuration.parse([f"--workdir={tmp_path / 'run'}"])
        assert again.config.data.path == str(tmp_path / name)
        assert json.loads(again.json)["data"]["path"] == name
    for path in (".", "./", f"{tmp_path}/."):
        command = configuration.parse([SMALL, f"--config.data.path={path}"])
        assert json.loads(command.json)["data"]["path"] == tmp_path.name


def test_keys_that_the_variant_does_not_read_are_told_in_one_line_each():
    command = configuration.parse([SMALL, "--config.kl.cap=0.5", "--config.extract.threshold=0.4"])
    assert command.warnings == (
        "config.kl.cap set, but not read with latent.kind = deterministic",
        "config.extract.threshold set, but not read with model.input = continuous",
    )
    halving = "--config.optimiser.halve_every_steps=9"
    assert configuration.parse([SMALL, halving, "--config.optimiser.decay=halving"]).warnings == ()
    told = ("config.optimiser.halve_every_steps set, but not read with optimiser.decay = cosine",)
    assert configuration.parse([SMALL, halving]).warnings == told
    twin = f"--config={ROOT / 'configs' / 'vae_binary.py'}"
    assert configuration.parse([twin]).warnings == ()
    changed = configuration.parse([twin, "--config.latent.kind=deterministic"]).warnings
    given = ", ".join(
        f"config.{key}" for key in sorted(rules.flatten(vae_binary.get_config())) if key.startswith("kl.")
    )
    assert len(changed) == 1
    assert set(changed[0].split(" set")[0].split(", ")) <= set(given.split(", "))


def test_every_unread_row_names_keys_that_exist():
    for pattern, _, setting in unread.ROWS:
        assert any(fnmatch.fnmatch(key, pattern) for key in rules.RULES | rules.SWEEP_RULES), pattern
        assert setting.split(" ")[0] in rules.RULES | rules.SWEEP_RULES


def test_every_shared_key_has_a_rule_and_the_other_way_round():
    assert set(rules.flatten(base.get_config())) == set(rules.RULES)


@pytest.mark.parametrize("mode", ["evaluate", "encode", "sample", "ceiling"])
@pytest.mark.parametrize(
    "given",
    [
        ("--config.data.count=1",),
        ("--config.data.cached=false",),
        ("--config.data.source=solids", "--config.data.count=3"),
    ],
)
def test_rules_of_training_bind_no_mode_that_reads_a_run(tmp_path, mode, given):
    trained = (
        "--config.train.batch_size=9",
        "--config.data.count=9",
        "--config.witness.classes=2",
        "--config.latent.kind=gaussian",
    )
    write_run(tmp_path, *trained)
    command = configuration.parse([f"--workdir={tmp_path}", f"--mode={mode}", *given])
    assert (command.config.train.batch_size, command.config.witness.classes) == (9, 2)


def test_ceiling_asks_nothing_that_only_a_training_needs():
    given = ("--config.model.input=depth", "--config.sdf.pool_points=5", "--config.train.batch_size=3")
    assert configuration.parse([SMALL, "--mode=ceiling", *given]).mode == "ceiling"


def test_rules_of_a_training_bind_the_cells_of_a_sweep_and_not_its_base():
    sweep = ("--config=collapse_cause", "--mode=sweep")
    cells = "('a: reconstruction.kind=channels', 'b: reconstruction.kind=gaussian')"
    config = ("--config.model.input=depth", "--config.reconstruction.kind=surface", "--config.data.count=8")
    assert configuration.parse([*sweep, *config, f"--config.sweep.cells={cells}"]).config.train.batch_size == 32
    assert refusal(*sweep, *config, "--config.sweep.cells=('a: seed=1',)") == (
        "config.sweep.cells, a: config.reconstruction.kind is 'surface'; accepted with model.input = depth: channels | "
        "gaussian | calibrated_gaussian | bernoulli | continuous_bernoulli"
    )


def test_run_that_was_stopped_for_a_collapse_can_be_told_to_go_on(tmp_path):
    write_run(tmp_path, "--config.diagnostics.on_collapse=stop")
    given = ("--config.diagnostics.on_collapse=report", "--config.evaluate.every_steps=7")
    config = configuration.parse([f"--workdir={tmp_path}", *given]).config
    assert (config.diagnostics.on_collapse, config.evaluate.every_steps) == ("report", 7)


def test_run_made_before_a_key_existed_gets_that_of_base(tmp_path):
    write_run(tmp_path)
    plain = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    del plain["sample"], plain["evaluate"]["every_steps"]
    del plain["optimiser"]["halve_every_steps"], plain["optimiser"]["scale"], plain["train"]["ema"]
    (tmp_path / "config.json").write_text(json.dumps(plain), encoding="utf-8")
    config = configuration.parse([f"--workdir={tmp_path}", "--mode=evaluate"]).config
    assert (config.sample.count, config.evaluate.every_steps) == (16, 0)
    assert (config.train.ema, config.optimiser.scale.to_dict()) == (0.0, {})
    assert configuration.parse([SMALL, f"--workdir={tmp_path}"]).config.sample.count == 16
    assert "train.ema (0.0 there, 0.9 here)" in refusal(f"--workdir={tmp_path}", "--config.train.ema=0.9")
    given = "optimiser.scale.decoder (absent there, 0.5 here)"
    assert given in refusal(f"--workdir={tmp_path}", "--config.optimiser.scale.decoder=.5")
    del plain["surface"], plain["inside"]  # of points that no family read then
    (tmp_path / "config.json").write_text(json.dumps(plain), encoding="utf-8")
    config = configuration.parse([SMALL, f"--workdir={tmp_path}"]).config
    assert (config.surface.points, config.inside.points) == (4096, 4096)


def test_run_made_before_its_family_had_a_key_gets_what_it_did_then(tmp_path):
    given = "--config=view_encoder.py:small"
    write_run(tmp_path, given)
    plain = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    del plain["views"]["encoder"], plain["views"]["weights"]
    (tmp_path / "config.json").write_text(json.dumps(plain), encoding="utf-8")
    for arguments in ([], [given], ["--mode=evaluate"]):
        config = configuration.parse([*arguments, f"--workdir={tmp_path}"]).config
        assert (config.views.encoder, config.views.weights) == ("own", "")
    told = refusal(f"--workdir={tmp_path}", "--config.views.encoder=pca", "--config.train.steps=0")
    assert "other values of views.encoder (own there, pca here); may differ" in told
    assert "encoder" not in configuration.parse([SMALL]).config.views


def test_steps_are_none_where_nothing_is_trained_and_some_elsewhere():
    for variant in ("pca", "dinov2"):
        given = f"--config=view_encoder.py:{variant}"
        assert configuration.parse([given]).config.train.steps == 0
        accepted = f"accepted: 0, as nothing is trained with views.encoder = {variant}"
        assert refusal(given, "--config.train.steps=5") == f"config.train.steps is 5; {accepted}"
        told = ("config.optimiser.beta2 set, but not read with train.steps = 0",)
        assert configuration.parse([given, "--config.optimiser.beta2=0.9"]).warnings == told
    least = "config.train.steps is 0; accepted: a whole number, at least 1"
    for given in (SMALL, "--config=view_encoder.py:small"):
        assert refusal(given, "--config.train.steps=0") == least
    assert refusal("--config=view_encoder.py:pca", "--config.views.encoder=own") == least


def test_refusal_of_another_config_names_the_first_keys_and_counts_the_rest(tmp_path):
    write_run(tmp_path)
    told = refusal("--config=vae_binary.py", f"--workdir={tmp_path}")
    assert told.startswith(
        f"--workdir={tmp_path} holds a run with other values of extract.grid (192 there, 256 here), "
    )
    assert told.count(" there, ") == 8
    assert told.endswith(" more; may differ: train.steps, *.every_steps, diagnostics.on_collapse, evaluate.*")


@pytest.mark.parametrize("given", ["ae_continuous.py:small", "ae_continuous:small", "configs/ae_continuous.py:small"])
def test_config_that_comes_with_hexjax_is_found_by_name_from_anywhere(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    assert configuration.parse([f"--config={given}"]).name == "ae_continuous-small"
    for sweep in ("collapse_dose", "sweeps/collapse_dose.py", "configs/sweeps/collapse_dose.py"):
        assert configuration.parse([f"--config={sweep}", "--mode=sweep"]).name.startswith("collapse_dose")
    own = tmp_path / "ae_continuous.py"
    text = "from configs import base\ndef get_config(v):\n    c = base.get_config()\n    c.name = 'own'\n    return c\n"
    own.write_text(text, encoding="utf-8")
    assert configuration.parse(["--config=ae_continuous:small"]).name == "own"


def test_list_of_meshes_longer_than_a_name_may_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = [f"mesh_number_{number}.obj" for number in range(40)]
    for name in files:
        pathlib.Path(name).touch()
    assert configuration.parse([SMALL, f"--config.data.path={','.join(files)}"]).config.data.path == ",".join(files)


SPELLINGS = {
    "kl.cap": {"1": 1.0, "0.1": 0.1, ".1": 0.1, "1e-1": 0.1, "1E-1": 0.1, " 0.1": 0.1, "+.1": 0.1},
    "optimiser.scale.encoder": {"0": 0.0, "1": 1.0, "1e-1": 0.1},
    "kl.log_variance_limit": {"inf": math.inf, "Infinity": math.inf, "10": 10.0},
    "train.steps": {"3": 3, "+3": 3, "1_000": 1000, "007": 7},
    "data.split": {
        "(16,32)": (16, 32),
        "(16, 32)": (16, 32),
        "16,32": (16, 32),
        "(16, 32,)": (16, 32),
        "[16, 32]": (16, 32),
    },
    "data.cached": {"true": True, "True": True, "1": True, "FALSE": False, "0": False},
    "latent.kind": {"fsq": "fsq"},
    "name": {"a-b": "a-b", "1": "1"},
    "model.dtype": {"bfloat16": "bfloat16"},
}
WRONG = {
    "train.steps": ("", "3.0", "1e3", "0x10", "three", "3,", "None", "0"),
    "kl.cap": ("", "1,0", "half", "nan", "True"),
    "data.cached": ("", "yes", "None", "2"),
    "data.split": ("", "16", "(16, '32')", "(16; 32)", "None"),
    "latent.kind": ("", "FSQ", "'fsq'"),
}


@pytest.mark.parametrize("key", SPELLINGS)
def test_overrides_in_every_spelling(key):
    for text, value in SPELLINGS[key].items():
        for words in ([f"--config.{key}={text}"], [f"--config.{key}", text]):
            config = base.get_config()
            _, overrides = configuration._split(words)
            rules.override(config, key, overrides[key])
            found = rules.flatten(config)[key]
            assert (found, type(found)) == (value, type(value)), text


@pytest.mark.parametrize("key", WRONG)
def test_values_that_are_none_of_their_key_are_refused(key):
    for text in WRONG[key]:
        told = refusal("--config=base.py", f"--config.{key}={text}")
        assert told.startswith(f"config.{key} is "), text
        assert told.endswith(f"; accepted: {rules.RULES[key].accepted}"), text
