"""The sparse engine's kernels, compiled for every instruction set into one library, loaded with ctypes.

All else about the package is in pyproject.toml. Without a C++ compiler the package is installed without them,
and says so when they would be used.
"""

import platform
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError, PlatformError

KERNELS = Path("sparsezoo_hub/runtime/kernels")
FLAGS = [
    "-std=c++17",
    "-O3",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fopenmp",
    "-fPIC",
    "-fvisibility=hidden",
]
# Name, bytes of a vector, and what the compiler is told, by kind of processor.
PORTABLE = ("portable", 16, [])
AVX512 = ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl"]
INSTRUCTION_SETS = {
    "x86_64": [
        ("avx512_bf16", 64, [*AVX512, "-mavx512vnni", "-mavx512bf16"]),
        ("avx512_vnni", 64, [*AVX512, "-mavx512vnni"]),
        ("avx512", 64, AVX512),
        ("avx2", 32, ["-mavx2", "-mfma"]),
        PORTABLE,
    ],
}


class BuildKernels(build_ext):
    """Compiles ``encoder.cpp`` once for each instruction set."""

    def build_extension(self, ext: Extension) -> None:
        """Compile and link, or say that it was not possible."""
        folder = Path(self.build_temp)
        objects, compiled = [], []
        try:
            for name, num_bytes, flags in INSTRUCTION_SETS.get(platform.machine(), [PORTABLE]):
                defined = [f"-DKERNELS={name}", f"-DVECTOR_BYTES={num_bytes}"]
                try:
                    objects += self._compile("encoder.cpp", folder / name, [*flags, *defined])
                    compiled.append(f"-DWITH_{name}")
                except CompileError as error:
                    if name == PORTABLE[0]:
                        raise
                    self.warn(f"this compiler does not know {name}, which is left out: {error}")
            objects += self._compile("dispatch.cpp", folder / "dispatch", compiled)
            # Nothing says which OpenMP runtime: the one that torch has loaded.
            self.compiler.link_shared_object(objects, self.get_ext_fullpath(ext.name), target_lang="c++")
        except (CompileError, LinkError, PlatformError) as error:
            self.warn(
                f"the sparse engine's kernels were not compiled, models will be computed by torch: {error}"
            )

    def get_ext_filename(self, fullname: str) -> str:
        """Return a name without Python's version: the library does not know Python."""
        return f"{fullname.replace('.', '/')}.so"

    def _compile(self, source: str, folder: Path, flags: list[str]) -> list[str]:
        return self.compiler.compile(
            [str(KERNELS / source)], output_dir=str(folder), extra_postargs=[*FLAGS, *flags]
        )


class AnyPython(bdist_wheel):
    """A wheel for one platform and every Python."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tags of the wheel's name."""
        return "py3", "none", super().get_tag()[2]


headers = [str(path) for path in sorted(KERNELS.glob("*.h"))]
sources = [str(KERNELS / "dispatch.cpp"), str(KERNELS / "encoder.cpp")]
setup(
    ext_modules=[Extension("sparsezoo_hub.runtime._kernels", sources, depends=headers)],
    cmdclass={"build_ext": BuildKernels, "bdist_wheel": AnyPython},
)
