#!/bin/bash
# An audit on several machines of a SLURM cluster: one Ray process per machine, the audit itself on the first.
#
#   sbatch docs/slurm.sh --recipe paper --dtype bfloat16 --out bundles/paper
#
# Submit it from the checkout, on a file system that all machines see; what follows goes to `precompute audit`. The audit runs
# on the first machine and holds no weights: these are with one worker for each GPU, the first machine's included. The cache of
# scores has to lie on a local disk, for locks do not hold on network file systems: it is copied there first and back at the
# end, two minutes before the time limit if need be, so that the same command goes on where this one was.

#SBATCH --job-name=audit
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@120

set -euo pipefail
cd "$SLURM_SUBMIT_DIR"

export RAY_USAGE_STATS_ENABLED=0
export RAY_AUTH_MODE=token # of ~/.ray/auth_token, which all machines of a SLURM cluster see
[ -s ~/.ray/auth_token ] || .venv/bin/ray get-auth-token --generate > /dev/null

mapfile -t machines < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${machines[0]}
port=$((20000 + SLURM_JOB_ID % 20000)) # another than that of a job on the same machine
address=$head:$port
size=(--num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}")

on() { srun --nodes=1 --ntasks=1 --overlap -w "$1" "${@:2}"; }

on "$head" .venv/bin/ray start --head --port="$port" --include-dashboard=false --disable-usage-stats "${size[@]}" --block &
for machine in "${machines[@]:1}"; do
	on "$machine" .venv/bin/ray start --address="$address" "${size[@]}" --block &
done

# Until every machine has joined.
until [ "$(.venv/bin/python - "$address" 2> /dev/null <<- 'PYTHON'
	import sys, ray
	ray.init(sys.argv[1], logging_level="ERROR")
	print(sum(node["Alive"] for node in ray.nodes()))
PYTHON
)" = "$SLURM_JOB_NUM_NODES" ]; do sleep 5; done

cache=${TMPDIR:-/tmp}/audit-cache-$SLURM_JOB_ID
mkdir -p .cache/audit "$cache"
cp -r .cache/audit/. "$cache"
keep() {
	cp -r "$cache/." .cache/audit
	rm -rf "$cache"
}

# The batch script runs on the first machine, where the head of the cluster is. An interrupt lets the audit finish what it is
# writing; without job control a command in the background would not hear it. Ray's processes end with the job.
set -m
.venv/bin/python -m precompute audit --engine ray --ray-address "$address" --cache "$cache" "$@" &
audit=$!
trap 'kill -INT $audit; wait $audit || true; keep; exit 1' TERM
status=0
wait $audit || status=$?
keep
exit $status
