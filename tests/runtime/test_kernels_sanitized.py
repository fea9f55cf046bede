"""The kernels under the compiler's sanitizers: nothing is read or written outside of what they are given."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

import sparsezoo_hub

KERNELS = Path(sparsezoo_hub.__file__).parent / "runtime" / "kernels"
FLAGS = ["-std=c++17", "-O1", "-g", "-fopenmp", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
# Those that setup.py compiles.
SETS = {"portable": (16, []), "avx2": (32, ["-mavx2", "-mfma"]), "avx512": (64, ["-mavx512f", "-mavx512dq"])}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_no_kernel_leaves_its_arrays(tmp_path: Path) -> None:
    compiled = []
    for name, (num_bytes, flags) in SETS.items():
        if flags and platform.machine() != "x86_64":
            continue
        defined = [f"-DKERNELS={name}", f"-DVECTOR_BYTES={num_bytes}"]
        source, target = KERNELS / "encoder.cpp", tmp_path / f"{name}.o"
        compiled.append(target)
        subprocess.run(["g++", *FLAGS, *flags, *defined, "-c", source, "-o", target], check=True)
    driver = Path(__file__).with_name("kernels_driver.cpp")
    program = tmp_path / "driver"
    command = ["g++", *FLAGS, f"-I{KERNELS}", driver, KERNELS / "dispatch.cpp", *compiled, "-o", program]
    subprocess.run(command, check=True)
    done = subprocess.run(
        [program], capture_output=True, text=True, check=False, env={"OMP_NUM_THREADS": "3"}, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "instruction sets, worst difference" in done.stdout
