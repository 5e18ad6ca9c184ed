#!/usr/bin/env bash
# The table of docs/results.md for one model: every method by `armor prune`, measured by `armor eval`.
#   benchmarks/compare-methods.sh MODEL CALIBRATION EVALUATION "EVAL OPTIONS" "BLOCKS" [METHOD ...]
# A method is plain (magnitude, wanda, nowag-p, sparsegpt, dense24) or a preset (fast, balanced, quality, paper); plain ones are run once, presets for
# every block size ("budget" for the default storage budget). CALIBRATION OPTIONS can be given in the variable PRUNE_OPTIONS.
set -euo pipefail
cd "$(dirname "$0")/.."

model=$1 calibration=$2 evaluation=$3 blocks=$5
read -ra eval_options <<< "$4"
read -ra prune_options <<< "${PRUNE_OPTIONS:-}"
shift 5
methods=("$@")
[ ${#methods[@]} -gt 0 ] || methods=(magnitude wanda nowag-p sparsegpt dense24 fast balanced quality)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
dotnet build src/Armor.Cli -c Release -v quiet --nologo > "$work/build.log" || { cat "$work/build.log"; exit 1; }
armor() { dotnet src/Armor.Cli/bin/Release/net10.0/Armor.Cli.dll "$@" 2> "$work/error.log" || { cat "$work/error.log" >&2; exit 1; }; }
number() { grep -oE "\"$1\": *-?[0-9.eE+-]+" "$2" | tail -n 1 | sed -E 's/.*: *//'; }

armor eval "$model" --text "$evaluation" "${eval_options[@]}" --json > "$work/dense.json"
echo "| method | block | storage | perplexity | ΔNLL | seconds |"
echo "| --- | ---: | ---: | ---: | ---: | ---: |"
printf '| dense | | 1 | %.4f | 0 | |\n' "$(number perplexity "$work/dense.json")"

row() { # label, block, options of prune
  local label=$1 block=$2
  shift 2
  rm -rf "$work/pruned"
  armor prune "$model" --out "$work/pruned" --calibration "$calibration" "${prune_options[@]}" "$@" --json > "$work/prune.json"
  armor eval "$work/pruned" --against "$model" --text "$evaluation" "${eval_options[@]}" --json > "$work/eval.json"
  awk -v label="$label" -v block="$block" -v bytes="$(number bytes "$work/prune.json")" -v whole="$(number denseBytes "$work/prune.json")" \
    -v perplexity="$(number perplexity "$work/eval.json")" -v delta="$(number deltaNll "$work/eval.json")" \
    -v error="$(number deltaNllStandardError "$work/eval.json")" \
    -v seconds="$(number seconds "$work/prune.json")" \
    'BEGIN { printf "| %s | %s | %.4f | %.4f | %.4f ± %.4f | %.1f |\n", label, block, bytes / whole, perplexity, delta, error, seconds }'
}

for method in "${methods[@]}"; do
  case "$method" in
    magnitude | wanda | nowag-p) row "$method" "" --method "$method" --calibrate dense ;;
    sparsegpt | dense24) row "$method" "" --method "$method" ;;
    *)
      mode=sequential
      [ "$method" = paper ] && mode=dense
      for block in $blocks; do
        if [ "$block" = budget ]; then size=(); else size=(--block-size "$block"); fi
        row "armor $method" "$block" --preset "$method" --calibrate "$mode" "${size[@]}"
      done
      ;;
  esac
done
