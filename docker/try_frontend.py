"""Start the demo in its image, while the image is built: a file that ``slim.py`` removed by mistake ends the build."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from urllib.error import URLError
from urllib.request import urlopen

from frontend.molecule import draw_smiles

PORT = 8501
PATIENCE_S = 60


def main() -> None:
    """Ask for its health, and draw a molecule."""
    assert draw_smiles("CCO")
    words = [sys.executable, "-m", "streamlit", "run", "frontend/app.py", "--server.port", str(PORT)]
    server = subprocess.Popen(words)
    end = time.monotonic() + PATIENCE_S
    try:
        while True:
            with suppress(URLError, ConnectionError), urlopen(f"http://127.0.0.1:{PORT}/_stcore/health") as answer:
                print(f"the demo answers: {answer.read().decode()}")
                return
            assert server.poll() is None, "the demo does not start"
            assert time.monotonic() < end, "the demo does not answer"
            time.sleep(0.2)
    finally:
        server.terminate()
        server.wait(20)


if __name__ == "__main__":
    main()
