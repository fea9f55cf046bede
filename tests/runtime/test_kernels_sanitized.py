"""The kernels under the compiler's sanitizers: nothing is read or written outside of what they are given, and
int8 layers are exact.
"""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

import sparsezoo_hub
from sparsezoo_hub.runtime import engine

KERNELS = Path(sparsezoo_hub.__file__).parent / "runtime" / "kernels"
FLAGS = ["-std=c++17", "-O1", "-g", "-fopenmp", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
# Those that setup.py compiles.
AVX512 = ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl"]
SETS = {
    "portable": (16, []),
    "avx2": (32, ["-mavx2", "-mfma"]),
    "avx512_vnni": (64, [*AVX512, "-mavx512vnni"]),
    "avx512": (64, AVX512),
    "avx512_bf16": (64, [*AVX512, "-mavx512vnni", "-mavx512bf16"]),
}


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
    dispatch = [*(f"-DWITH_{path.stem}" for path in compiled), KERNELS / "dispatch.cpp"]
    command = ["g++", *FLAGS, f"-I{KERNELS}", driver, *dispatch, *compiled, "-o", program]
    subprocess.run(command, check=True)
    done = subprocess.run(
        [program], capture_output=True, text=True, check=False, env={"OMP_NUM_THREADS": "3"}, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sets = len(engine.instruction_sets()) - 1  # torch is none of the kernels
    assert f"{sets} instruction sets, worst difference" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.parametrize("name", SETS)
def test_int8_layers_are_exact_to_the_last_bit(tmp_path: Path, name: str) -> None:
    num_bytes, flags = SETS[name]
    if flags and platform.machine() != "x86_64":
        pytest.skip("needs an x86 processor")
    defined = [f"-DKERNELS={name}", f"-DVECTOR_BYTES={num_bytes}", "-O2", "-ffp-contract=fast"]
    driver, program = Path(__file__).with_name("int8_driver.cpp"), tmp_path / "driver"
    subprocess.run(["g++", *FLAGS, *flags, *defined, f"-I{KERNELS}", driver, "-o", program], check=True)
    if flags and name not in engine.instruction_sets():
        pytest.skip(f"compiled, and this processor does not have {name}")
    done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "all layers are the same\n"
