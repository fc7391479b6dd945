#!/usr/bin/env bash
# Everything that wants a GPU, within ten minutes: rendering, extraction, distances, a training step, a trained head.
#
#   HEXJAX_DATA=DIR bash benchmarks/all_gpu.sh           results/benchmarks/*_gpu.{json,md,png}, results/NNN-… (scores.json)
#   TOY=1 bash benchmarks/all_gpu.sh                     the same at toy size on the CPU, in $RESULTS
#
# Works in a bare checkout. PYTHON: an interpreter with the packages of pyproject.toml and jax for CUDA (default: python); peers
# that it lacks have rows that say so. STEPS: of the training (2000; 3 as a toy). RESULTS: where the toy writes (default: a new
# temporary folder). PARTS: those to run. Each part has a limit of its own; one that fails or is stopped does not end the others.
set -uo pipefail

cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python}
TOY=${TOY:-0}
PARTS=${PARTS:-render train_step train extract sdf}
head=${HEXJAX_DATA:-../shared/data}/heads/leeperrysmith_5500.ply
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1

refuse() {
  echo "all_gpu.sh: $1" >&2
  exit 2
}

[ -f "$head" ] || refuse "no leeperrysmith_5500.ply; set HEXJAX_DATA to the folder that holds heads/"
if [ "$TOY" = 1 ]; then
  export JAX_PLATFORMS=cpu
  results=${RESULTS:-$(mktemp -d)} steps=${STEPS:-3} toy=--toy suffix=:small
else
  results=results/benchmarks steps=${STEPS:-2000} toy='' suffix=''
fi
mkdir -p "$results"
platform=$("$PYTHON" -c 'import jax; print(jax.devices()[0].platform)') || refuse "$PYTHON cannot start JAX"
[ "$TOY" = 1 ] || [ "$platform" = gpu ] || refuse "JAX sees no GPU (it runs on $platform); TOY=1 tries it on the CPU"

failed=''
part() { # name, seconds it may take, command
  local began=$SECONDS code=0
  case " $PARTS " in *" $1 "*) ;; *) return ;; esac
  timeout "$2" "${@:3}" || code=$?
  echo "$1: $((SECONDS - began)) s, exit code $code"
  [ "$code" = 0 ] || failed="$failed $1"
}
measured() { # name, seconds it may take, further arguments
  part "$1" "$2" "$PYTHON" -m "benchmarks.$1" $toy --output="$results/$1_gpu.json" "${@:3}"
}

place=()
[ "$TOY" != 1 ] || place=(--workdir="$results/ae_continuous")
variants=()
[ "$TOY" = 1 ] || variants=(--variants=full)
measured render 110 --contenders=hexjax,embreex,Open3D,nvdiffrast,PyTorch3D,warp # trimesh takes minutes
measured train_step 270 "${variants[@]}"
part train 120 "$PYTHON" launch.py --config="configs/ae_continuous.py$suffix" --config.data.path="$head" \
  --config.train.steps="$steps" "${place[@]}"
measured extract 60
measured sdf 40
echo "written in $results; ${SECONDS} s in all"
[ -z "$failed" ] || refuse "failed or stopped:$failed"
