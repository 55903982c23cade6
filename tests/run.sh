#!/usr/bin/env bash
# Set up .venv and a real Slurm (where apt and root allow), then run every check and test. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
./run_hpc_training.sh setup dev

if ! command -v slurmctld >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing Slurm for the cluster tests"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null ||
        echo "!!! Slurm could not be installed; its tests will be skipped"
fi

bin=.venv/bin
"$bin"/ruff check .
"$bin"/ruff format --check .
"$bin"/mypy
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
exec "$bin"/python -m pytest -n 2 --dist worksteal "$@"
