"""Cells of sweeps, written as a sweep writes them, and the rows of tables made from them."""

import json

THRESHOLDS = 19  # of the sweep
FINAL = {
    "kl": 50.0, "kl_per_latent": 1.5, "kl_max_latent": 3.0, "gain": 300.0, "nll": 200.0, "nll_constant": 500.0,
    "swap_gap": 250.0, "swap_error": 250.0, "constant_error": 500.0, "squared_error": 0.05, "variance": 0.05,
    "active_units": 32.0, "information": 4.1, "information_ceiling": 4.159, "iou": 0.9, "iou_constant": 0.54,
    "mean_map_distance": 0.6, "outline_gradient": 0.5, "outline_pixels": 0.1, "largest_mean": 3.0,
    "largest_log_variance": 4.0, "non_finite": 0.0, "train_nll": 190.0, "train_iou": 0.91, "train_squared_error": 0.05,
    "train_kl": 51.0, "mesh_non_empty": 1.0, "prior_iou": 0.6, "prior_occupancy": 0.3, "prior_non_empty": 1.0,
    "data_occupancy": 0.31, "witness_information": 1.1, "witness_mean_margin": 1.05, "witness_mean_lower": 0.8,
    "witness_sample_margin": 1.0, "witness_sample_lower": 0.7, "witness_fixed_margin": -0.4,
    "witness_anchored_margin": 0.1, "witness_certified": True,
}  # fmt: skip
CELL = "silhouettes,entropy,gaussian,many"
HISTORY = {"kl": 40.0, "gain": 250.0, "kl_gradient_removed": 0.5, "outline_gradient": 0.6}


def make_run(seed, name="HEALTHY", setting=None, tags=(), history=(), **changed):
    """A run of a cell's file; figures that are None were not finite."""
    final = FINAL | {"sweep_iou": [0.9] * THRESHOLDS, "sweep_non_empty": [1.0] * THRESHOLDS} | changed
    lost = None in final.values()
    names = (
        "kl",
        "gain",
        "swap_gap",
        "swap_error",
        "constant_error",
        "iou",
        "iou_constant",
        "active_units",
        "non_finite",
    )
    evidence = {key: final[key] for key in names} | {"pays_rate": True, "shapes": 525, "non_finite": int(lost)}
    rows = history or [{"step": step} | HISTORY for step in (50, 100, 150)]
    return {"seed": seed, "setting": setting or {}, "verdict": name, "tags": [*tags, *(["non-finite"] if lost else [])],
            "reason": "as told", "evidence": evidence, "final": final, "history": rows}  # fmt: skip


def raw(name, kind):
    """A likelihood and its reduction as a sweep writes them, from the word that tables have for them."""
    if name == "entropy":
        return ("continuous_bernoulli" if kind == "silhouette_sdf" else "bernoulli"), "sum"
    return {"mean_mse": ("channels", "mean"), "sum_mse": ("gaussian", "sum")}[name]


def write_cell(folder, sweep, name, runs, source="solids", train=525, factors=(), **changed):
    """Writes a cell's file as `training.sweep` does; its factors are what the name's words say, but for those given."""
    kind, likelihood, latent, shapes, *control = name.split(",")
    train = 1 if shapes == "one" else train
    likelihood, reduction = raw(likelihood, kind)
    count = {"many": 0, "one": 1}[shapes] if shapes in ("many", "one") else int(shapes)
    known = {"input": kind, "likelihood": likelihood, "reduction": reduction, "latent": latent, "shapes": count}
    preflight = {
        "largest_eigenvalue": 50.0,
        "decoder_variance": 1.0,
        "kl_weight": 1.0,
        "predicted": "HEALTHY",
        "lines": [],
    }
    cell = {
        "cell": name, "overrides": {}, "sweep": sweep, "digest": "0", "seconds": 36.0, "device": "cpu", "commit": "abc",
        "factors": known | {"control": ",".join(control)} | dict(factors),
        "data": {"source": source, "split": "0", "train": train, "held_out": 225},
        "settings": {"steps": 1000, "batch_size": 32, "resolution_px": 32, "latent_floats": 32, "latent_bits": 1024,
                     "parameters": 1000} | changed.pop("settings", {}),
        "preflight": preflight | changed.pop("preflight", {}), "runs": runs,
    } | changed  # fmt: skip
    (folder / sweep / source).mkdir(parents=True, exist_ok=True)
    (folder / sweep / source / f"{name}.json").write_text(json.dumps(cell) + "\n")


def write_everything(folder, source="solids"):
    """A little of each sweep, so that every table has a row and every picture is drawn."""
    healthy = [make_run(seed) for seed in range(3)]
    lost = [{"step": step} | dict.fromkeys(HISTORY) for step in (50, 100, 150)]
    failed = [
        make_run(0, "COLLAPSED", kl=0.0, iou=0.54),
        make_run(1, "EXPLODED", history=lost, kl=None, gain=None),
        make_run(2),
    ]
    one = [make_run(seed, "NOT-CERTIFIABLE", tags=("decoder ok",)) for seed in range(3)]
    for kind in ("silhouettes", "silhouette_sdf"):
        for shapes, runs in (("many", healthy), ("one", one)):
            write_cell(folder, "collapse_cause", f"{kind},entropy,gaussian,{shapes}", runs, source)
            write_cell(folder, "collapse_recipe", f"{kind},mean_mse,gaussian,{shapes},full", failed, source)
            write_cell(folder, "collapse_recipe", f"{kind},mean_mse,gaussian,{shapes},full-cap", healthy, source)
        for (cap, clamp), runs in ((("0.1", "inf"), failed), (("1", "10"), healthy)):
            name = f"{kind},mean_mse,gaussian,many,pair_lr1e-2_cap{cap}_clamp{clamp}"
            given = {"optimiser.learning_rate": "1e-2", "kl.cap": cap, "kl.log_variance_limit": clamp}
            write_cell(folder, "collapse_recipe", name, runs, source, overrides=given)
        for latent in ("deterministic", "gaussian", "fsq"):
            write_cell(folder, "collapse_latents", f"{kind},entropy,{latent},many", healthy, source)
        for count in (1, 8):
            name = f"{kind},entropy,gaussian,{count},shapes"
            write_cell(folder, "collapse_dose", name, healthy, source, train=count)
        write_cell(folder, "collapse_dose", f"{kind},sum_mse,gaussian,many,weight", of_weights(1.0, 100.0), source)
        write_cell(folder, "collapse_dose", f"{kind},entropy,gaussian,many,floats", healthy, source)
        for arm, lower in (("nothing", -0.5), ("sum", 0.5)):
            name, changed = f"{kind},mean_mse,gaussian,many,near_{arm}", {"control": f"near:{arm}"}
            write_cell(folder, "collapse_escape", name, of_escape(lower), source, factors=changed)
        write_cell(folder, "collapse_witness", f"{kind},entropy,gaussian,many,witness", of_weights(1.0, 8.0), source)


def of_escape(lower):
    """Runs that begin without a certificate at step 100 and have margins of at least `lower` nats from step 200 on."""
    moment = {"witness_force": 0.5, "witness_force_constant": 0.9}
    history = [
        HISTORY | moment | {"step": step, "witness_sample_lower": lower if step > 100 else -0.5}
        for step in (100, 200, 300)
    ]
    foretold = {"escape_predicted_once": 0.01 * lower, "escape_measured_once": 0.02 * lower}
    foretold |= {"escape_predicted": 0.1 * lower, "escape_measured": 0.4 * lower}
    name = "HEALTHY" if lower > 0 else "COLLAPSED"
    return [make_run(seed, name, history=history, witness_sample_lower=lower, **foretold) for seed in range(3)]


def of_weights(*weights):
    """Runs of several settings, the verdict by the linear theory's threshold of 50."""
    settings = [{"kl.final_weight": weight} for weight in weights for _ in range(2)]
    return [
        make_run(i % 2, "COLLAPSED" if each["kl.final_weight"] > 50 else "HEALTHY", each,
                 active_units=0.0 if each["kl.final_weight"] > 50 else 32.0)
        for i, each in enumerate(settings)
    ]  # fmt: skip


def name_cells(folder, sweep, *names, source="solids"):
    """Writes the config that names a sweep's cells."""
    (folder / sweep / source).mkdir(parents=True, exist_ok=True)
    config = {"sweep": {"cells": [f"{name}: model.input=silhouettes" for name in names]}}
    (folder / sweep / source / "config.json").write_text(json.dumps(config))


def rows_of(text, word=""):
    """Cells of the rows of all tables in a text that hold the word, without heads."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    ruled = [i for i, row in enumerate(rows) if set(row) == {"---"}]
    kept = [row for i, row in enumerate(rows) if i not in ruled and i + 1 not in ruled]
    return [row for row in kept if any(word in cell for cell in row)]


def column_of(text, name):
    """The cells of a column of the first table."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return [row[lines[0].index(name)] for row in lines[2:]]
