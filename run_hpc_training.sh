#!/usr/bin/env bash
# The front door: set up .venv once, check and pack a dataset, train it through Slurm if there is one, else here.
#
#   ./run_hpc_training.sh                              the demo: draws its own images, 2 to 3 minutes on 2 cores
#   ./run_hpc_training.sh mednist --root DIR           real data
#   ./run_hpc_training.sh mednist --root DIR --epochs 5 --partition gpu --gpus_per_node 4    any setting of the recipe
#   ./run_hpc_training.sh setup                        only set up .venv
#
# --here trains on this machine even where there is a Slurm.
set -euo pipefail
called_from=$PWD
cd "$(dirname "$0")"

fail() { printf 'error: %s\n  fix: %s\n' "$1" "$2" >&2; exit 1; }

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python3.10; do
        [ -n "$candidate" ] && command -v "$candidate" >/dev/null || continue
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' && { echo "$candidate"; return; }
    done
    fail "no Python 3.10 or newer was found" "install one, or point to it: PYTHON=/path/to/python3 $0"
}

make_venv() {
    local python=$1
    rm -rf .venv
    "$python" -m venv .venv >/dev/null 2>&1 && return
    # Debian and Ubuntu leave out what venv needs.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing python3-venv"
        apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
        rm -rf .venv
        "$python" -m venv .venv && return
    fi
    rm -rf .venv
    fail "$python cannot make a virtual environment" "apt-get install python3-venv   (as root), then call this again"
}

# setup [EXTRA]: .venv with medtrain (and its extra, for instance dev); at once where nothing has changed.
setup() {
    local extra=${1:-} stamp=".venv/ready${1:+-$1}" wanted
    wanted=$(cat pyproject.toml constraints.txt | cksum)
    [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        local python
        python=$(find_python)
        make_venv "$python"
    fi
    echo "installing medtrain${extra:+ ($extra)} into .venv: a few minutes, once"
    local package=".${extra:+[$extra]}" log=.venv/install.log
    if ! .venv/bin/python -m pip install -q -c constraints.txt -e "$package" >"$log" 2>&1; then
        echo "the tested versions do not all fit this Python; installing the newest that do (see $log)"
        .venv/bin/python -m pip install -q -e "$package" >>"$log" 2>&1 ||
            { tail -n 5 "$log" >&2; fail "the packages could not be installed" "see $log; is there a network or a package mirror?"; }
    fi
    echo "$wanted" >"$stamp"
}

# A path as the caller meant it: this script works in its own folder.
absolute() { case "$1" in /*) echo "$1" ;; *) echo "$called_from/$1" ;; esac; }

slurm_answers() { command -v sbatch >/dev/null && timeout 10 sinfo -h >/dev/null 2>&1; }

dataset=demo
case "${1:-}" in
setup) setup "${2:-}"; exit ;;
-h | --help) sed -n '2,10s/^# \{0,1\}//p' run_hpc_training.sh; exit ;;
-*) ;;
?*) dataset=$1; shift ;;
esac

root='' here='' shards="shards/$dataset" settings=()
while [ $# -gt 0 ]; do
    case "$1" in
    --root) root=$(absolute "${2:?--root needs a folder}"); shift ;;
    --root=*) root=$(absolute "${1#*=}") ;;
    --shards) shards=$(absolute "${2:?--shards needs a folder}"); shift ;;
    --shards=*) shards=$(absolute "${1#*=}") ;;
    --here) here=yes ;;
    *) settings+=("$1") ;;
    esac
    shift
done

setup
medtrain=.venv/bin/medtrain
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive} # idle threads sleep, so that a busy machine is not made busier

if [ ! -f "$shards/manifest.json" ]; then
    if [ "$dataset" = demo ] && [ -z "$root" ]; then
        root=data/demo
        [ -d "$root" ] || "$medtrain" data download demo --root "$root"
    fi
    [ -n "$root" ] || fail "$shards holds no packed dataset" "say where the raw one is: $0 $dataset --root DIR"
    "$medtrain" check "$dataset" --root "$root"
    "$medtrain" shard "$dataset" --root "$root" --out "$shards"
fi
"$medtrain" verify "$shards" --level quick

if [ -z "$here" ] && slurm_answers; then
    answer=$("$medtrain" submit "$dataset" --shards "$shards" --json ${settings[@]+"${settings[@]}"})
    folder=$(.venv/bin/python -c 'import json, sys; print(json.load(sys.stdin)["folder"])' <<<"$answer")
    echo "run ${folder##*/} is in the queue; Ctrl-C ends the watching, not the job"
    "$medtrain" logs "${folder##*/}" --runs "${folder%/*}" -f
else
    "$medtrain" train "$dataset" --shards "$shards" ${settings[@]+"${settings[@]}"}
fi
