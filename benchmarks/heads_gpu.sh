#!/usr/bin/env bash
# Many heads at full size (512² maps, 393 216 floats) on a GPU, in one go: trained, and judged on 20 heads that it has not seen.
#
#   HEXJAX_DATA=DIR bash benchmarks/heads_gpu.sh                          configs/ae_heads.py, 16.7 M parameters
#   CONFIG=ae_continuous HEXJAX_DATA=DIR bash benchmarks/heads_gpu.sh     the convolution network of 37.6 M on the same heads
#   TOY=1 HEXJAX_DATA=DIR bash benchmarks/heads_gpu.sh                    the same at toy size on the CPU
#
# PYTHON: an interpreter with the packages of pyproject.toml and jax for CUDA (default: python). STEPS: of the training (4000).
# RESULTS: the folder of figures and a few pictures (default: results/heads_gpu); the run itself lies in $RUN, a temporary folder.
set -euo pipefail

absolute() { realpath -m -- "$1"; }
refuse() {
  echo "heads_gpu.sh: $1" >&2
  exit 2
}
root=$(absolute "$(dirname "$0")/..")
heads=$(absolute "${HEXJAX_DATA:-$root/../shared/data}")/head_set/lowres.npz
results=$(absolute "${RESULTS:-$root/results/heads_gpu}")
cd "$root"
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
[ -f "$heads" ] || refuse "no lowres.npz; set HEXJAX_DATA to the folder that holds head_set/"
config=${CONFIG:-ae_heads} run=${RUN:-$(mktemp -d)/run} more=() suffix=''
if [ "${TOY:-0}" = 1 ]; then
  export JAX_PLATFORMS=cpu
  suffix=:small steps=${STEPS:-2}
  more=(--config.data.count=20 --config.evaluate.shapes=1 --config.extract.grid=32 --config.score.samples=500 --config.evaluate.baselines=false)
else
  steps=${STEPS:-4000}
  more=(--config.data.count=200 --config.evaluate.shapes=20)
  platform=$("${PYTHON:-python}" -c 'import jax; print(jax.devices()[0].platform)') || refuse "${PYTHON:-python} cannot start JAX"
  [ "$platform" = gpu ] || refuse "JAX sees no GPU (it runs on $platform); TOY=1 tries it on the CPU"
fi
"${PYTHON:-python}" launch.py --config="configs/$config.py$suffix" --config.data.path="$heads" --workdir="$run" \
  --config.data.split="(0.8, 0.1, 0.1)" --config.data.augment=mirror --config.train.batch_size=8 \
  --config.train.steps="$steps" --config.optimiser.decay=cosine --config.optimiser.warmup_steps="$((steps / 50))" \
  --config.evaluate.pictures=1 "${more[@]}"
mkdir -p "$results/images"
for file in baselines command config metrics scores spec; do
  cp "$run/$file".* "$results/" 2>/dev/null || true
done
ls -S "$run/images" | head -3 | while read -r picture; do cp "$run/images/$picture" "$results/images/"; done
echo "written in $results; ${SECONDS} s in all"
