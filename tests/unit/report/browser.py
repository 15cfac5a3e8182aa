"""Pages as a browser shows them, after their scripts have run."""

import shutil
import subprocess
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def opened(page: Path, fragment: str = "") -> str:
    """Return the document as it is after the scripts have run."""
    assert CHROMIUM is not None
    result = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={page.parent / 'profile'}",
            "--enable-logging=stderr",
            "--virtual-time-budget=3000",
            "--dump-dom",
            f"{page.as_uri()}#{fragment}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    # A script that fails, and a request that the page's own policy refuses, say so on the console.
    assert not [line for line in result.stderr.splitlines() if "CONSOLE" in line]
    return result.stdout
