#!/usr/bin/env bash
# Everything that wants a GPU, within ten minutes: rendering, extraction, distances, a training step, a trained head.
#
#   HEXJAX_DATA=DIR bash benchmarks/all_gpu.sh           results/benchmarks/*_gpu.{json,md,png}, results/NNN-… (scores.json)
#   TOY=1 bash benchmarks/all_gpu.sh                     the same at toy size on the CPU, in $RESULTS
#
# Works in a bare checkout. PYTHON: an interpreter with the packages of pyproject.toml and jax for CUDA (default: python); peers
# that it lacks have rows that say so. STEPS: of the training (2000; 3 as a toy). RESULTS: where all is written (default:
# results/benchmarks and the next results/NNN-…; a new temporary folder for the toy). PARTS: those to run, of render, train_step,
# train, extract, sdf (host code: not by default) and collapse (not by default: it takes nine minutes alone). Each has a limit;
# one that fails or is stopped does not end the others.
#
# PARTS=collapse: the published experiment at its size, as many of five seeds as fit (benchmarks/published.py; WORK: a folder
# where its runs stay, to go on there), then configs/sweeps/collapse_scale.py on fewer shapes and for SWEEP_STEPS steps (400)
# instead of 2000, in results/collapse/collapse_scale or $RESULTS/collapse_scale; its finished cells are not made again.
set -uo pipefail

PYTHON=${PYTHON:-python}
TOY=${TOY:-0}
PARTS=${PARTS:-render train_step train extract}

refuse() {
  echo "all_gpu.sh: $1" >&2
  exit 2
}

absolute() { realpath -m -- "$1"; }
root=$(absolute "$(dirname "$0")/..")
export HEXJAX_DATA=$(absolute "${HEXJAX_DATA:-$root/../shared/data}")
[ -z "${RESULTS:-}" ] || RESULTS=$(absolute "$RESULTS")
[ -z "${WORK:-}" ] || WORK=$(absolute "$WORK")
cd "$root" || refuse "cannot enter $root"
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 XLA_PYTHON_CLIENT_PREALLOCATE=false
head=$HEXJAX_DATA/heads/leeperrysmith_5500.ply

for name in $PARTS; do
  case $name in render | train_step | train | extract | sdf | collapse) ;; *) refuse "PARTS names $name; parts: render, train_step, train, extract, sdf, collapse" ;; esac
done
[ -f "$head" ] || refuse "no leeperrysmith_5500.ply; set HEXJAX_DATA to the folder that holds heads/"
"$PYTHON" -c 'import flax, igl, jaxtyping, matplotlib, ml_collections, optax, orbax.checkpoint, scipy, skimage, tensorboardX, trimesh' ||
  refuse "$PYTHON lacks a package of pyproject.toml"
place=() cells=()
if [ "$TOY" = 1 ]; then
  export JAX_PLATFORMS=cpu
  results=${RESULTS:-$(mktemp -d)} steps=${STEPS:-3} toy=--toy suffix=:small variants=()
  published=(--toy --seeds=1 --minutes=6) sweep_steps=${SWEEP_STEPS:-2}
  sweep=(--config.{data.count=6,train.batch_size=2,sweep.measure_every_steps=1,hexplane.resolution_px=32,model.stem_px=4}
    --config.{latent.side=4,model.mixer_side=4,model.mixer_width=16} --config.model.widths="(8,16)")
else
  results=${RESULTS:-results/benchmarks} steps=${STEPS:-2000} toy='' suffix='' variants=(--variants=full)
  published=(--size=full --seeds=5 --minutes=5.8) sweep_steps=${SWEEP_STEPS:-400} sweep=(--config.data.count=100)
fi
[ -z "${RESULTS:-}" ] && [ "$TOY" != 1 ] || place=(--workdir="$results/ae_continuous") cells=(--workdir="$results/collapse_scale")
mkdir -p "$results" && [ -w "$results" ] || refuse "cannot write to $results"
platform=$("$PYTHON" -c 'import jax; print(jax.devices()[0].platform)') || refuse "$PYTHON cannot start JAX"
[ "$TOY" = 1 ] || [ "$platform" = gpu ] || refuse "JAX sees no GPU (it runs on $platform); TOY=1 tries it on the CPU"

failed=''
part() { # name, seconds it may take, command
  local began=$SECONDS code=0
  case " $PARTS " in *" $1 "*) ;; *) return ;; esac
  timeout -k 5 "$2" "${@:3}" || code=$?
  echo "$1: $((SECONDS - began)) s, exit code $code"
  [ "$code" = 0 ] || failed="$failed $1"
}
measured() { # name, seconds it may take, further arguments
  part "$1" "$2" "$PYTHON" -m "benchmarks.$1" $toy --output="$results/$1_gpu.json" "${@:3}"
}

# trimesh takes minutes at these sizes, and scikit-image at 512³.
measured render 120 --contenders=hexjax,embreex,Open3D,nvdiffrast,PyTorch3D,warp --resolutions=256,512
measured train_step 230 "${variants[@]}"
part train 100 "$PYTHON" launch.py --config="configs/ae_continuous.py$suffix" --config.data.path="$head" \
  --config.train.steps="$steps" "${place[@]}"
measured extract 80 --grids=128,256
measured sdf 60
part collapse 390 "$PYTHON" -m benchmarks.published "${published[@]}" --output="$results/published_gpu.json" \
  ${WORK:+--workdir="$WORK"}
part collapse 140 "$PYTHON" launch.py --mode=sweep --config="configs/sweeps/collapse_scale.py$suffix" \
  --config.train.steps="$sweep_steps" "${sweep[@]}" "${cells[@]}"
echo "written in $results; ${SECONDS} s in all"
[ -z "$failed" ] || refuse "failed or stopped:$failed"
