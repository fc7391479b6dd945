#!/usr/bin/env bash
# From pictures to shapes on a GPU, in one go of at most nine minutes: an auto-decoder of all closed shapes of a folder (512 x 8),
# an encoder of their views, a generator of 15.7 M parameters that is told by views, and how well it draws shapes that it has
# not seen; beside them what the auto-decoder and the views cost (benchmarks/auto_decoder.py and views.py).
#
#   bash benchmarks/image_to_shape_gpu.sh SHAPES             SHAPES: a folder of meshes (default: shapes/ in HEXJAX_DATA)
#   TOY=1 bash benchmarks/image_to_shape_gpu.sh SHAPES       the same at toy size on the CPU
#
# PYTHON: an interpreter with the packages of pyproject.toml and jax for CUDA (default: python). OUT: the folder of seven files:
# figures, tables, and runs.tgz with each run's scores and a few pictures (default: results/image_to_shape_gpu; a temporary one
# for the toy). RUN: where the runs themselves lie (a new temporary folder; to name it again is to go on with them).
# TRAIN_SECONDS: of the auto-decoder's training (120), from which its steps follow by the measured step; STEPS: its steps instead.
# VIEW_PX: side of a picture, a multiple of 14 (112). PARTS: those to run, of auto_decoder, deepsdf, view_encoder, latent_dit,
# pictured and views, in this order. LIMIT: seconds of all (530; 3600 as a toy). Each part has a limit of its own (but as a
# toy), and none goes beyond; what is stopped keeps what it has, and the next part goes on with that.
set -uo pipefail

PYTHON=${PYTHON:-python}
TOY=${TOY:-0}
PARTS=${PARTS:-auto_decoder deepsdf view_encoder latent_dit pictured views}
TRAIN_SECONDS=${TRAIN_SECONDS:-120}

refuse() {
  echo "image_to_shape_gpu.sh: $1" >&2
  exit 2
}
absolute() { realpath -m -- "$1"; }
least() { echo $(($1 < $2 ? $1 : $2)); }

root=$(absolute "$(dirname "$0")/..")
shapes=$(absolute "${1:-${HEXJAX_DATA:-$root/../shared/data}/shapes}")
[ -z "${OUT:-}" ] || OUT=$(absolute "$OUT")
run=$(absolute "${RUN:-$(mktemp -d)}")
cd "$root" || refuse "cannot enter $root"
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 XLA_PYTHON_CLIENT_PREALLOCATE=false

for name in $PARTS; do
  case $name in auto_decoder | deepsdf | view_encoder | latent_dit | pictured | views) ;; *) refuse "PARTS names $name; parts: auto_decoder, deepsdf, view_encoder, latent_dit, pictured, views" ;; esac
done
[ -d "$shapes" ] || refuse "$(basename "$shapes") is no folder; accepted: a folder of meshes"
"$PYTHON" -c 'import flax, igl, jaxtyping, matplotlib, ml_collections, optax, orbax.checkpoint, pooch, scipy, skimage, sklearn, tensorboardX, trimesh' ||
  refuse "$PYTHON lacks a package of pyproject.toml"
if [ "$TOY" = 1 ]; then
  export JAX_PLATFORMS=cpu XLA_FLAGS=${XLA_FLAGS:---xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false} # soon compiled
  out=${OUT:-$(mktemp -d)} few=10 toy=--toy views=(--toy) variants=() px=28 draws=(--draws=1 --shapes=1 --grid=16 --samples=200)
  small=(--config.model.width=16) cameras=(--config.views.{count=16,held=8}) scored=(--config.{extract.grid=16,score.samples=200})
  decoder=(--config.{model.depth=4,latent.channels=8,sdf.points=64,sdf.pool_points=512,sdf.seen_points=256}
    --config.{search.points=64,search.steps=5,inside.points=64}) encoder=(--config.{model.blocks=1,latent.channels=8})
  generator=(--config.{model.blocks=1,model.heads=2,diffusion.levels=20,diffusion.steps=4})
  limit=${LIMIT:-3600} steps=${STEPS:-4} view_steps=3 draw_steps=3 warmup=1 shown=1
else
  out=${OUT:-results/image_to_shape_gpu} few=0 toy='' views=("$shapes") variants=(--variants=full) px=${VIEW_PX:-112}
  draws=(--draws=2 --shapes=10 --grid=64 --samples=5000) small=() cameras=() scored=(--config.{extract.grid=128,score.samples=20000})
  decoder=(--config.sdf.pool_points=65536) encoder=() generator=()
  limit=${LIMIT:-530} steps=${STEPS:-} view_steps=4000 draw_steps=6000 warmup=500 shown=5
  platform=$("$PYTHON" -c 'import jax; print(jax.devices()[0].platform)') || refuse "$PYTHON cannot start JAX"
  [ "$platform" = gpu ] || refuse "JAX sees no GPU (it runs on $platform); TOY=1 tries it on the CPU"
fi
out=$(absolute "$out")
mkdir -p "$out" "$run" && [ -w "$out" ] || refuse "cannot write to $out"

failed=''
part() { # name, seconds it may take, command
  local began=$SECONDS code=0 left
  case " $PARTS " in *" $1 "*) ;; *) return ;; esac
  left=$((limit - SECONDS))
  [ "$TOY" = 1 ] || left=$(least "$2" "$left")
  if [ "$left" -lt 5 ]; then
    echo "$1: no time is left" >&2
    failed="$failed $1"
    return
  fi
  timeout -k 5 "$left" "${@:3}" || code=$?
  echo "$1: $((SECONDS - began)) s, exit code $code" >&2
  [ "$code" = 0 ] || failed="$failed $1"
}
launch() { # config, seconds it may take, further arguments
  part "$1" "$2" "$PYTHON" launch.py --config="configs/$1.py" --workdir="$run/$1" \
    --config.optimiser.{decay=cosine,warmup_steps="$warmup"} \
    --config.{log.every_steps=100,validate.every_steps=2000,checkpoint.every_steps=5000,diagnostics.every_steps=0} "${small[@]}" "${@:3}"
}

names=$("$PYTHON" -m benchmarks.closed "$shapes" --count="$few") || refuse "$(basename "$shapes") does not load"
tell='import ast, sys; names = ast.literal_eval(sys.argv[1]); print(len(names), names[:1])'
read -r count first < <("$PYTHON" -c "$tell" "$names")
[ "$count" -ge 10 ] || refuse "$(basename "$shapes") has $count closed shapes; accepted: at least 10"
# Both runs hold the same shapes out. Where shares of few shapes leave none to test, the first is.
data=(--config.data.{path="$shapes",count=0,names="$names",split="(0.83, 0.0, 0.17)"})
[ "$count" -ge 50 ] || data+=(--config.data.held_out="$first")
most=$((count * 6 / 10)) # shapes in a batch

part auto_decoder 110 "$PYTHON" -m benchmarks.auto_decoder $toy "${variants[@]}" --output="$out/auto_decoder_gpu.json"
if [ -z "$steps" ]; then
  steps=$("$PYTHON" - "$out/auto_decoder_gpu.json" "$TRAIN_SECONDS" <<'END' 2>/dev/null
import json, sys
rows = json.load(open(sys.argv[1], encoding="utf-8"))["rows"]
print(max(int(float(sys.argv[2]) / rows[-1]["runners"]["ours"]["seconds"] / 100), 10) * 100)
END
  ) || steps=$((TRAIN_SECONDS * 150))
fi
echo "$count closed shapes; $steps steps of the auto-decoder"
launch deepsdf $((TRAIN_SECONDS + 110)) "${data[@]}" --config.train.{steps="$steps",ema=0.999,batch_size="$(least 4 "$most")"} \
  --config.{optimiser.learning_rate=1e-3,search.starts=1} --config.evaluate.{shapes="$shown",pictures="$shown",baselines=false} \
  "${scored[@]}" "${decoder[@]}"
launch view_encoder 110 "${data[@]}" --config.train.{steps="$view_steps",batch_size="$(least 64 "$most")"} --config.views.resolution_px="$px" \
  "${cameras[@]}" "${encoder[@]}"
launch latent_dit 90 --config.latents.run="$run/deepsdf" --config.views.run="$run/view_encoder" --config.views.resolution_px="$px" \
  --config.train.{steps="$draw_steps",batch_size="$(least 32 "$most")"} --config.evaluate.{shapes="$shown",pictures="$shown",baselines=false} \
  "${cameras[@]}" "${scored[@]}" "${generator[@]}"
part pictured 90 "$PYTHON" -m hexjax.evaluation.pictured "$run/latent_dit" "${draws[@]}" >"$out/pictured.md"
part views 90 "$PYTHON" -m benchmarks.views "${views[@]}" --output="$out/views_gpu.json"

cp "$run/latent_dit/pictured.json" "$out/" 2>/dev/null || true
(cd "$run" && for name in deepsdf view_encoder latent_dit; do
  for kind in command config data metrics scores spec timing; do ls "$name/$kind".* 2>/dev/null; done
  find "$name/images" -type f 2>/dev/null | sort | head -4
done | tar czf "$out/runs.tgz" -T -)
echo "written in $out; ${SECONDS} s in all"
[ -z "$failed" ] || refuse "failed or stopped:$failed"
