"""Flow runs as SLURM jobs: a worker type of Prefect that needs sbatch, squeue and scancel, and nothing else."""
