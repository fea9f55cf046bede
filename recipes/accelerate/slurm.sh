#!/bin/bash
# Several nodes under Slurm, DDP over all of their GPUs. srun starts one process to a GPU, without accelerate
# launch between: so the signal that announces the end of the time reaches each of them, and the exit code of
# an interrupted run reaches this script. Set --nodes, the two lines with GPUs, the time and your partition:
#
# sbatch slurm.sh RECIPE --bf16 --text FILE --out FOLDER     (a folder that all nodes see)
#SBATCH --job-name=sparsezoo
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append

set -uo pipefail

MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000)) # two jobs on one node do not meet
export MASTER_ADDR MASTER_PORT
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK

# For FSDP2 in place of DDP, for models that one GPU cannot hold:
# export ACCELERATE_USE_FSDP=true FSDP_VERSION=2 FSDP_AUTO_WRAP_POLICY=TRANSFORMER_BASED_WRAP
# export FSDP_RESHARD_AFTER_FORWARD=true FSDP_STATE_DICT_TYPE=FULL_STATE_DICT

# Processes end a moment apart, and the main one may still be writing: nobody is killed before two minutes.
# If one dies, that is how long the others are waited for.
srun --kill-on-bad-exit=0 --wait=120 bash -c '
    export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS
    export LOCAL_WORLD_SIZE=$SLURM_NTASKS_PER_NODE
    exec python -m sparsezoo_hub.train "$@"
' train "$@"
code=$?

# 75: interrupted, with a complete checkpoint. The same job goes on from it when it is its turn again.
if [ "$code" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
