#!/usr/bin/env bash
# sbatch recipes/accelerate/slurm.sh --config recipes/ravdess/gan_att.yaml --out /shared/gan
# One launcher on every node; --resume goes on where an allocation ended. SLURM's SIGTERM makes a training stop with a
# checkpoint after its update; one that is longer than the launcher's 30 seconds of grace goes on from the last one.
#SBATCH --job-name=gandistill
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --signal=TERM@120
set -euo pipefail
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export first
srun bash -c 'accelerate launch --config_file recipes/accelerate/machines.yaml \
    --num_machines "$SLURM_NNODES" --num_processes $((SLURM_NNODES * ${SLURM_GPUS_ON_NODE:-1})) \
    --machine_rank "$SLURM_NODEID" --main_process_ip "$first" recipes/train_gan.py "$@"' gandistill "$@"
