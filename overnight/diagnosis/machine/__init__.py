"""What is to be checked of a machine before a night, each thing by itself."""

from overnight.diagnosis.machine.children import check_llama_cpp, check_torch
from overnight.diagnosis.machine.disks import check_disks
from overnight.diagnosis.machine.gpus import check_gpus
from overnight.diagnosis.machine.memory import check_memory
from overnight.diagnosis.machine.models import check_models
from overnight.diagnosis.machine.servers import check_hub, check_ollama, check_prefect
from overnight.diagnosis.machine.system import check_cpu, check_python, check_threads, check_tracking

CHECKS = {
    "python": check_python,
    "cpu": check_cpu,
    "threads": check_threads,
    "memory": check_memory,
    "disk": check_disks,
    "gpu": check_gpus,
    "torch": check_torch,
    "llama.cpp": check_llama_cpp,
    "ollama": check_ollama,
    "prefect": check_prefect,
    "models": check_models,
    "wandb": check_tracking,
    "hub": check_hub,
}
