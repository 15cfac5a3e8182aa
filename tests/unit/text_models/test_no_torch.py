import json
import subprocess
import sys


def test_the_process_of_a_flow_holds_text_models_without_torch() -> None:
    # It takes seconds to import, and it is the host's.
    code = (
        "import json, sys, overnight.text_models.holding, overnight.uncertainty.judge_requests\n"
        "sys.stdout.write(json.dumps(list(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    imported = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert "overnight" in imported
    assert imported & {"torch", "transformers", "prefect", "wandb"} == set()
