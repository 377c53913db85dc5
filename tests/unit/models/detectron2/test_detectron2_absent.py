"""Without Detectron2 the message says how to get it."""

import subprocess
import sys


def test_the_error_says_how_to_install_it():
    code = "import sys; sys.modules['detectron2'] = None; import models.detectron2"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "git+https://github.com/facebookresearch/detectron2" in result.stderr
    assert "docs/detectron2.md" in result.stderr
