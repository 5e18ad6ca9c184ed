#!/usr/bin/env bash
# The table of tasks in docs/results.md for one model: every method by `armor prune`, measured by `armor eval --tasks` beside the dense model. Needs jq.
#   benchmarks/compare-tasks.sh MODEL CALIBRATION TASK-DATA "TASK:METRIC[:FILTER] ..." OUT [METHOD ...]
# The first line of the table has the dense model's values, the others differences from them with paired standard errors and, where two equal models would differ
# so much in less than one of twenty (hundred) tables, one (two) stars. Tasks are those of `armor eval` and groups (mmlu, bbh_cot_fewshot), metrics acc, acc_norm,
# exact_match or perplexity; of a perplexity the natural logarithm is shown. Rows whose prompts did not fit the model's window are counted after the table. OUT keeps
# answers and reports; a second run goes on from them. A method is plain (magnitude, wanda, nowag-p, sparsegpt, dense24), a preset (fast, balanced, quality), or a
# folder with a model that was pruned before. Options of prune can be given in PRUNE_OPTIONS, others of eval in EVAL_OPTIONS, the reports' name in REPORT (where two
# tables share OUT), the built tool's path in ARMOR.
set -euo pipefail
model=$(realpath "$1") calibration=$(realpath "$2") data=$(realpath "$3") out=$(realpath -m "$5")
read -ra columns <<< "$4"
read -ra prune_options <<< "${PRUNE_OPTIONS:-}"
read -ra eval_options <<< "${EVAL_OPTIONS:-}"
shift 5
methods=("$@")
[ ${#methods[@]} -gt 0 ] || methods=(magnitude wanda nowag-p sparsegpt dense24 fast balanced quality)
mkdir -p "$out"
if [ -z "${ARMOR:-}" ]; then
  cd "$(dirname "$0")/.."
  dotnet build src/Armor.Cli -c Release -v quiet --nologo > "$out/build.log" || { cat "$out/build.log"; exit 1; }
  ARMOR=src/Armor.Cli/bin/Release/net10.0/Armor.Cli.dll
fi
armor() { dotnet "$ARMOR" "$@" 2> "$out/error.log" || { cat "$out/error.log" >&2; exit 1; }; }
tasks=$(printf '%s\n' "${columns[@]%%:*}" | awk '!seen[$0]++' | paste -sd,)

row() { # label, report, field
  local line="| $1 |"
  for column in "${columns[@]}"; do
    IFS=: read -r task metric filter <<< "$column"
    line+=" $(jq -r --arg task "$task" --arg metric "$metric" --arg filter "$filter" --arg field "$3" '
      def fixed: (. * 10000 | round) / 10000 | tostring;
      [.comparisons[] | select(.task == $task and .metric == $metric and ($filter == "" or .filter == $filter))][0] as $c
      | if $c == null then error("no \($task), \($metric) in the report; it has \([.comparisons[] | "\(.task), \(.metric) (\(.filter))"] | unique | join("; "))") else . end
      | if $metric == "perplexity" then
          if $field == "reference" then $c.reference | log | fixed
          else (($c.value | log) - ($c.reference | log) | (if . >= 0 then "+" else "" end) + fixed) + (if $c.p < 0.01 then " **" elif $c.p < 0.05 then " *" else "" end) end
        elif $field == "reference" then $c.reference | fixed
        else ($c.difference | (if . >= 0 then "+" else "" end) + fixed) + " ± " + ($c.differenceStandardError | fixed)
          + (if $c.p < 0.01 then " **" elif $c.p < 0.05 then " *" else "" end) end' "$2") |"
  done
  echo "${line//\*/\\*}"
}

header="| |" rule="| --- |" first=1
for column in "${columns[@]}"; do
  IFS=: read -r task metric filter <<< "$column"
  header+=" $task, $(sed 's/^perplexity$/ln perplexity/' <<< "$metric")${filter:+ ($filter)} |" rule+=" ---: |"
done
echo "$header"
echo "$rule"
for method in "${methods[@]}"; do
  name=$(basename "$method") label=$method pruned=$out/$(basename "$method")/model
  report=$out/$name/${REPORT:-report}.json
  mkdir -p "$out/$name"
  if [ -d "$method" ]; then
    pruned=$(realpath "$method") label=$name
  elif [ ! -e "$pruned/config.json" ]; then
    case "$method" in
      magnitude | wanda | nowag-p) how=(--method "$method" --calibrate dense) ;;
      sparsegpt | dense24) how=(--method "$method") ;;
      *) how=(--preset "$method") ;;
    esac
    armor prune "$model" --out "$pruned" --calibration "$calibration" "${prune_options[@]}" "${how[@]}" --json > "$out/$name/prune.json"
  fi
  case "$method" in fast | balanced | quality) label="armor $method" ;; esac
  armor eval "$pruned" --tasks "$tasks" --task-data "$data" --against "$model" --work "$out/answers" --chart "${report%.json}.png" "${eval_options[@]}" --json > "$report"
  if [ -n "$first" ]; then
    row dense "$report" reference
    first=
  fi
  row "$label" "$report" value
done
echo
jq -r '.reference | [.results, .groups][] | to_entries[] | "\(.key): \(.value.truncated) of \(.value.sample_len) rows cut"' "$report"
