#!/usr/bin/env bash
# Trains both full configurations on a GPU, scores them, and measures what a step costs there.
#
#   HEXJAX_DATA=DIR bash benchmarks/full_gpu.sh          results/NNN-… (scores.json), results/benchmarks/full_step_gpu.*
#   TOY=1 bash benchmarks/full_gpu.sh                    the same on the CPU at :small size, 20 steps, in $RESULTS
#
# Works in a bare checkout. PYTHON: an interpreter with the packages of pyproject.toml and jax for CUDA (default: python).
# STEPS: of each training (2000; 20 as a toy). RESULTS: where the toy writes (default: a new temporary folder).
set -euo pipefail

cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python}
TOY=${TOY:-0}
head=${HEXJAX_DATA:-../shared/data}/heads/leeperrysmith_5500.ply
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

refuse() {
  echo "full_gpu.sh: $1" >&2
  exit 2
}

[ -f "$head" ] || refuse "no leeperrysmith_5500.ply; set HEXJAX_DATA to the folder that holds heads/"
if [ "$TOY" = 1 ]; then
  export JAX_PLATFORMS=cpu
  variant=small steps=${STEPS:-20} measured=1 results=${RESULTS:-$(mktemp -d)}
  suffix=:small out=$results/full_step_toy.json
else
  variant=full steps=${STEPS:-2000} measured=20 results=results
  suffix='' out=results/benchmarks/full_step_gpu.json
fi
platform=$("$PYTHON" -c 'import jax; print(jax.devices()[0].platform)') || refuse "$PYTHON cannot start JAX"
[ "$TOY" = 1 ] || [ "$platform" = gpu ] || refuse "JAX sees no GPU (it runs on $platform); TOY=1 tries it on the CPU"

failed=0
train() { # a config's name; the other is still trained where one stops (exit code 3: not finite)
  local place=() began=$SECONDS code=0
  [ "$TOY" != 1 ] || place=(--workdir="$results/$1")
  "$PYTHON" launch.py --config="configs/$1.py$suffix" --config.data.path="$head" --config.train.steps="$steps" \
    "${place[@]}" || code=$?
  echo "$1: $steps steps and scores in $((SECONDS - began)) s, exit code $code"
  [ "$code" = 0 ] || failed=1
}

train ae_continuous
train vae_binary
"$PYTHON" -m benchmarks.full_step --steps="$measured" --variants="$variant" --output="$out"
echo "written in $results"
exit "$failed"
