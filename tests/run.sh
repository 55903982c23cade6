#!/usr/bin/env bash
# Set up .venv and a real Slurm (where apt and root allow), then run every check and test. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
./run_hpc_training.sh setup dev

have() { PATH=$PATH:/usr/sbin command -v "$1" >/dev/null; }
if ! { have slurmctld && have slurmdbd && have mariadbd; } && [ "$(id -u)" = 0 ] && have apt-get; then
    echo "installing Slurm, with accounting, for the cluster tests"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends \
        slurmctld slurmd slurm-client munge slurmdbd mariadb-server >/dev/null ||
        echo "!!! Slurm could not be installed; its tests will be skipped"
fi
if ! { have mksquashfs && have squashfuse_ll && have fusermount3 && have bwrap; } && [ "$(id -u)" = 0 ] && have apt-get; then
    echo "installing squashfuse and bubblewrap, for packed environments and containers"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends squashfs-tools squashfuse fuse3 bubblewrap >/dev/null ||
        echo "!!! squashfuse and bubblewrap could not be installed; packed environments and containers will not be tested"
fi
[ -e /dev/fuse ] || echo "!!! /dev/fuse is not here; packed environments and containers will not be tested"
if ! have ffmpeg; then
    [ "$(id -u)" = 0 ] && have apt-get && apt-get update -qq && apt-get install -y -qq --no-install-recommends ffmpeg >/dev/null ||
        echo "!!! ffmpeg could not be installed; the tests that compare videos with it will be skipped"
fi
if ! have dcmj2pnm && [ "$(id -u)" = 0 ] && have apt-get; then
    echo "installing DCMTK, with which lossy DICOM is compared"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends dcmtk >/dev/null || true
fi
have dcmj2pnm || echo "!!! DCMTK is not here (apt-get install dcmtk); its comparisons of lossy DICOM will be skipped"
if ! { have chromium && have chromedriver && have pdftotext; }; then
    [ "$(id -u)" = 0 ] && have apt-get && echo "installing Chromium, in which reports are opened" && apt-get update -qq &&
        apt-get install -y -qq --no-install-recommends chromium chromium-driver poppler-utils >/dev/null ||
        echo "!!! Chromium, its driver and pdftotext could not be installed; no report will be opened in a browser"
fi

bin=.venv/bin
"$bin"/ruff check .
"$bin"/ruff format --check .
"$bin"/codespell
"$bin"/mypy & # beside the tests: it has one thread, and they have more to do than cores
types=$!
workers=$(($(nproc) + 2)) # the tests on clusters mostly wait
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
"$bin"/python -m pytest -n "$workers" --dist worksteal "$@" && failed=0 || failed=$?
wait "$types" || { echo "!!! mypy found errors: they stand above, where the tests began"; failed=1; }
exit "$failed"
