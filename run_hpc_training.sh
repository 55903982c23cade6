#!/usr/bin/env bash
# The front door: set up .venv once, check and pack datasets, train through Slurm if there is one, else here.
#
#   ./run_hpc_training.sh                              the demo: draws chest X-rays, about 2 minutes on 2 cores
#   ./run_hpc_training.sh mednist --root DIR           real data
#   ./run_hpc_training.sh mednist --root DIR --epochs 5 --partition gpu --gpus_per_node 4    any setting of the recipe
#   ./run_hpc_training.sh chest --root DIR --datasets nih chexpert --holdout vindr_cxr    DIR/nih, DIR/chexpert, ...
#   ./run_hpc_training.sh chest --metadata FILE.csv    a table of images and labels that you have (medtrain data metadata)
#   ./run_hpc_training.sh echo --root DIR --annotations FILE.csv    clips, and a table of their quality
#   ./run_hpc_training.sh setup                        only set up .venv
#
# With Slurm, packing (in arrays of --tasks N jobs, in --pack_partition P) and a training that waits for it are submitted
# at once. Flags of medtrain shard (--encoding, --size, --views, --keep_names) are taken; --here does all here in any case.
set -euo pipefail
# The caller's folder stays the working folder, so that every path, also one in a settings file, is what the caller meant;
# what is set up, drawn and packed by default lies beside this script.
home=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$home/.venv

fail() { printf 'error: %s\n  fix: %s\n' "$1" "$2" >&2; exit 1; }

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python3.10; do
        [ -n "$candidate" ] && command -v "$candidate" >/dev/null || continue
        "$candidate" -I -c 'import sys; sys.exit(sys.version_info < (3, 10))' && { echo "$candidate"; return; }
    done
    fail "no Python 3.10 or newer was found" "install one, or point to it: PYTHON=/path/to/python3 $0"
}

# Whether uv installs. It does not read pip's settings: where an index, a mirror or certificates are among them, pip does.
uv_installs() {
    command -v uv >/dev/null && ! "$venv/bin/python" -I -m pip config list 2>/dev/null |
        grep -E '[.](index-url|extra-index-url|find-links|no-index|trusted-host|cert|client-cert|proxy|constraint)=' >/dev/null
}

make_venv() {
    local python=$1
    rm -rf "$venv"
    "$python" -I -m venv "$venv" >/dev/null 2>&1 && return
    if command -v uv >/dev/null && rm -rf "$venv" && uv venv -q --seed --python "$python" "$venv" 2>/dev/null; then return; fi
    # Debian and Ubuntu leave out what venv needs.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing python3-venv"
        apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
        rm -rf "$venv"
        "$python" -I -m venv "$venv" && return
    fi
    rm -rf "$venv"
    fail "$python cannot make a virtual environment" "apt-get install python3-venv   (as root), then call this again"
}

# setup [EXTRA]: .venv with medtrain and its decoders (and an extra, for instance dev); at once where nothing has changed.
setup() {
    local extra=${1:-} stamp="$venv/ready${1:+-$1}" wanted
    wanted=$(cat "$home/pyproject.toml" "$home/constraints.txt" | cksum)
    [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    if ! "$venv/bin/python" -I -m pip --version >/dev/null 2>&1; then
        local python
        python=$(find_python)
        make_venv "$python"
    fi
    echo "installing medtrain${extra:+ ($extra)} into .venv: a few minutes, once"
    local package="$home[dicom,fast${extra:+,$extra}]" log="$venv/install.log"
    local install=("$venv/bin/python" -I -m pip install -q --no-compile -e "$package")
    ! uv_installs || install=(uv pip install -q --python "$venv/bin/python" -e "$package")
    if ! "${install[@]}" -c "$home/constraints.txt" >"$log" 2>&1; then
        echo "the tested versions do not all fit this Python; installing the newest that do (see $log)"
        "${install[@]}" >>"$log" 2>&1 ||
            { tail -n 5 "$log" >&2; fail "the packages could not be installed" "see $log; is there a network or a package mirror?"; }
    fi
    # By all cores, where pip has one; what is no Python of this version (templates) is skipped.
    "$venv/bin/python" -I -m compileall -q -j 0 "$venv/lib" >/dev/null 2>&1 || true
    echo "$wanted" >"$stamp"
}

# As jobs need it, which may start elsewhere.
absolute() { case "$1" in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }

slurm_answers() { command -v sbatch >/dev/null && timeout 10 sinfo -h >/dev/null 2>&1; }

recipe=chest_demo
case "${1:-}" in
setup)
    setup "${2:-}"
    [ "${2:-}" != dev ] || exit 0 # of the tests
    place=$venv
    [ "$PWD" != "$home" ] || place=.venv
    echo "medtrain is installed. What to type next:"
    printf '  %-36s # medtrain is a command in this shell then\n' "source $(printf %q "$place/bin/activate")"
    printf '  %-36s # %s\n' "medtrain doctor" "checks this machine: packages, GPUs, Slurm" \
        "medtrain --help" "all commands" "$(printf %q "$0")" "trains on generated images, in minutes"
    exit
    ;;
-h | --help) sed -n '2,13s/^# \{0,1\}//p' "$home/run_hpc_training.sh"; exit ;;
-*) ;;
?*) recipe=$1; shift ;;
esac

root='' here='' shards='' metadata='' encoding='' size='' datasets=() packing=() table=() array=() chain=() settings=() part=''
runs='' weights='' files=()
while [ $# -gt 0 ]; do
    case "$1" in --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;; esac
    case "$1" in
    --root) root=$(absolute "${2:?--root needs a folder}"); shift ;;
    --shards) shards=$(absolute "${2:?--shards needs a folder}"); shift ;;
    --metadata) metadata=$(absolute "${2:?--metadata needs a file}"); shift ;;
    --datasets) while [ $# -gt 1 ] && [[ $2 != -* ]]; do datasets+=("$2"); shift; done ;;
    --holdout) datasets+=("${2:?--holdout needs a dataset}"); settings+=("$1" "$2"); shift ;;
    --encoding) encoding=${2:?--encoding needs a value}; shift ;;
    --size) size=${2:?--size needs a number}; shift ;;
    --annotations) table=("$1" "$(absolute "${2:?--annotations needs a file}")"); shift ;;
    --color[_-]mode | --colours) packing+=("$1" "${2:?$1 needs a value}"); settings+=("$1" "$2"); shift ;;
    --partial) packing+=("$1"); part=yes ;;
    --max_rejects) packing+=("$1" "${2:?--max_rejects needs a number}"); chain+=("$1" "$2"); shift ;;
    --keep[_-]names) packing+=(--keep_names); chain+=(--keep_names) ;;
    --views) packing+=("$1"); part=yes; while [ $# -gt 1 ] && [[ $2 != -* ]]; do packing+=("$2"); shift; done ;;
    --tasks) array+=("$1" "${2:?--tasks needs a number}"); chain+=("$1" "$2"); shift ;;
    --pack_partition) array+=(--partition "${2:?--pack_partition needs a name}"); chain+=("$1" "$2"); shift ;;
    --cluster | --account) array+=("$1" "${2:?$1 needs a name}"); settings+=("$1" "$2"); shift ;;
    --here) here=yes ;;
    --share) packing+=("$1" "${2:?--share needs a word}"); settings+=("$1" "$2"); shift ;;
    --runs) runs=$(absolute "${2:?--runs needs a folder}"); settings+=("$1" "$runs"); shift ;;
    -c | --config) files+=("$1" "${2:?$1 needs a file}"); shift ;;
    --weights) weights=${2?--weights needs a file}; settings+=("$1" "$weights"); shift ;;
    *) settings+=("$1") ;;
    esac
    shift
done
if [ ${#datasets[@]} -gt 0 ]; then
    mapfile -t datasets < <(printf '%s\n' "${datasets[@]}" | awk '!seen[$0]++') # --holdout may name one of --datasets
    shards=${shards:-$home/shards}
    settings+=(--datasets "${datasets[@]}")
elif [ -n "$metadata" ]; then
    shards=${shards:-$home/shards/metadata} root=$metadata datasets=(metadata)
else
    [ "$recipe" != chest ] || fail "chest trains on several datasets" "name them: $0 chest --root DIR --datasets nih chexpert"
    datasets=("${recipe%_baseline}") # mura_baseline is another recipe of mura
    shards=${shards:-$home/shards/${datasets[0]}}
fi
if [ "$recipe" = chest ]; then encoding=${encoding:-jpeg} size=${size:-512}; fi
packing=(${encoding:+--encoding "$encoding"} ${size:+--size "$size"} ${packing[@]+"${packing[@]}"})

case "$weights" in
'' | imagenet | kinetics) ;;
*) [ -f "$weights" ] || fail "$(absolute "$weights"): there is no such file of weights" \
    "give --weights FILE.safetensors, imagenet or kinetics, or '' for none" ;;
esac
for ((i = 1; i < ${#files[@]}; i += 2)); do
    [ -f "${files[i]}" ] || fail "$(absolute "${files[i]}"): there is no such file of settings" "give -c FILE.yaml"
    ! grep -q '^runs:' "${files[i]}" || runs=told
done
[ ${#files[@]} = 0 ] || settings=("${files[@]}" ${settings[@]+"${settings[@]}"})
[ -n "$runs" ] || [ "$PWD" -ef "$home" ] || settings+=(--runs "$home/runs")

setup
medtrain=$venv/bin/medtrain
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive} # idle threads sleep, so that a busy machine is not made busier
[ -n "$here" ] || slurm_answers || here=yes

# Where a dataset's shards are, and its raw files: DIR/NAME, or DIR where only one is asked for.
shards_of() { case "$1" in "${recipe%_baseline}" | metadata) echo "$shards" ;; *) echo "$shards/$1" ;; esac; }
root_of() { if [ -d "$root/$1" ]; then echo "$root/$1"; else echo "$root"; fi; }
# The value of a key in JSON; of a list the last.
value_of() {
    "$venv/bin/python" -I -c 'import json, sys; found = json.loads(sys.argv[2])[sys.argv[1]]
print(found[-1] if isinstance(found, list) else found)' "$1" "$2"
}

case " ${settings[*]-} " in *" --study"[_-]"type all "* | *" --ensemble "*) group=yes ;; *) group='' ;; esac
if [ -n "$group" ] && [ -z "$here" ] && [ -n "$root" ] && [ ! -f "$shards/manifest.json" ]; then
    [ -z "$part" ] || fail "the chain packs the whole dataset" "pack a part of it first: medtrain shard ${datasets[0]} --slurm ..."
    exec "$medtrain" pipeline "$recipe" --root "$(root_of "${datasets[0]}")" --shards "$shards" "${settings[@]}" \
        ${encoding:+--encoding "$encoding"} ${size:+--size "$size"} ${chain[@]+"${chain[@]}"}
fi

jobs=()
for dataset in "${datasets[@]}"; do
    out=$(shards_of "$dataset")
    if [ ! -f "$out/manifest.json" ]; then
        if [[ $dataset = *demo ]] && [ -z "$root" ]; then
            raw=$home/data/$dataset
            [ -d "$raw" ] || "$medtrain" data download "$dataset" --root "$raw"
        else
            [ -n "$root" ] || fail "$out holds no packed dataset" "say where the raw one is: $0 $recipe --root DIR"
            raw=$(root_of "$dataset")
        fi
        pack=(shard "$dataset" --root "$raw" --out "$out" ${table[@]+"${table[@]}"} ${packing[@]+"${packing[@]}"})
        if [ -n "$here" ] || [[ $dataset = *demo ]]; then
            "$medtrain" check "$dataset" --root "$raw" ${table[@]+"${table[@]}"}
            "$medtrain" "${pack[@]}"
        else
            "$medtrain" check "$dataset" --root "$raw" ${table[@]+"${table[@]}"} --metadata_only
            answer=$("$medtrain" "${pack[@]}" --slurm ${array[@]+"${array[@]}"} --json)
            jobs+=("$(value_of jobs "$answer")")
            echo "$dataset is packed by Slurm jobs, of which ${jobs[-1]} is the last; their logs are in $out/slurm"
            continue
        fi
    fi
    "$medtrain" verify "$out" --level quick
done

train=("$recipe" --shards "$shards" ${settings[@]+"${settings[@]}"})
if [ -n "$here" ]; then
    "$medtrain" train "${train[@]}"
elif [ -n "$group" ]; then
    "$medtrain" submit "${train[@]}"
else
    [ ${#jobs[@]} = 0 ] || train+=(--dependency "$(IFS=:; echo "${jobs[*]}")")
    answer=$("$medtrain" submit "${train[@]}" --json)
    folder=$(value_of folder "$answer")
    echo "run ${folder##*/} is in the queue; Ctrl-C ends the watching, not the job"
    "$medtrain" logs "${folder##*/}" --runs "${folder%/*}" -f
    "$medtrain" status "${folder##*/}" --runs "${folder%/*}"
    [ -f "$folder/evaluation/test.json" ] || [ -f "$folder/evaluation/val.json" ] ||
        fail "run ${folder##*/} did not get to its end" "see above; the logs of packing are in the folder slurm beside the shards"
fi
