#!/usr/bin/env bash
# One array element is one student, and one node of it is one worker.
# Written by `lmcodistill launch slurm` @{version}. Start it with `sbatch FILE`; what
# sbatch is given there wins over the lines below.
#SBATCH --job-name=@{name}
#SBATCH --array=0-@{last_student}
#SBATCH --nodes=@{workers} --ntasks-per-node=1
@{resources}#SBATCH --output=%x-%A_%a.log --open-mode=append
# Save and stop before the time is up, and be queued again.
#SBATCH --requeue --signal=TERM@@{stop_seconds}
set -uo pipefail
: "${SLURM_ARRAY_TASK_ID:?This is a batch script. Start it with: sbatch FILE}"
DATA=@{data_dir}
RUN=@{run_dir}

# A port for each worker, so that jobs may share a node.
port=$((20000 + SLURM_JOB_ID * SLURM_JOB_NUM_NODES % 12000))
workers=()
for host in $(scontrol show hostnames "$SLURM_JOB_NODELIST"); do
  workers+=("\"$host:$((port + ${#workers[@]}))\"")
done
cluster="{\"worker\": [$(IFS=, && echo "${workers[*]}")]}"
# srun no longer takes this from the job by itself.
[[ -z ${SLURM_CPUS_PER_TASK:-} ]] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK

train=(
  lmcodistill train --student="$SLURM_ARRAY_TASK_ID"
  --data_dir="$DATA" --run_dir="$RUN"
  @{flags}
)
# srun ends with the highest exit code of all workers. One that found a mistake must
# win over those that it left alone, so 200 is added to its code. No worker is killed
# because another ended: it may be saving.
# shellcheck disable=SC2016  # The variables are those of each node.
srun --export=ALL --kill-on-bad-exit=0 --wait=0 bash -c '
  export TF_CONFIG="{\"cluster\": $1,
    \"task\": {\"type\": \"worker\", \"index\": $SLURM_NODEID}}"
  shift
  trap : TERM  # The signal is for the worker; this shell waits until it has saved.
  "$@" && exit 0
  code=$?
  exit $((code < 10 ? 200 + code : code))
' worker "$cluster" "${train[@]}"
code=$?
case $code in
  # Stopped on request, after saving: the same command goes on.
  @{stopped}) scontrol requeue "$SLURM_JOB_ID" ;;
  # Workers were lost, and starting them again here did not help. Elsewhere it may.
  @{lost})
    ((${SLURM_RESTART_COUNT:-0} >= @{max_requeues})) || scontrol requeue "$SLURM_JOB_ID"
    ;;
esac
exit $((code > 200 ? code - 200 : code))
