"""What stands in a git tree for a large file: the pointer of git LFS, version 1."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

# Above this many bytes a file is kept beside the git repository, whatever it is.
LARGE_SIZE = 1 << 20

# Formats that no diff is made for; kept beside the repository even when small, so that a model's weights
# have the same identity (their SHA-256) at every size.
_SUFFIXES = """
.7z .arrow .bin .bz2 .ckpt .data .ftz .gguf .gz .h5 .jpeg .jpg .joblib .model .msgpack .npy .npz .onnx .ot
.parquet .pb .pdf .pickle .pkl .png .pt .pth .rar .safetensors .tar .tflite .tgz .wasm .webp .xz .zip .zst
"""
BINARY_SUFFIXES = frozenset(_SUFFIXES.split())

_SHA256 = re.compile(r"[0-9a-f]{64}")
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (0|[1-9][0-9]{0,17})\n"
)


@dataclass(frozen=True, slots=True)
class LfsPointer:
    """A large file's identity.

    Args:
        sha256: digest of its content, 64 lower-case hexadecimal digits.
        size: its length in bytes.
    """

    sha256: str
    size: int

    def to_bytes(self) -> bytes:
        """Return the pointer file's content."""
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n"
        return text.encode()


def parse_pointer(content: bytes) -> LfsPointer | None:
    """Return the pointer that `content` spells, or None if it is an ordinary file."""
    match = _POINTER.fullmatch(content)
    return None if match is None else LfsPointer(match[1].decode(), int(match[2]))


def is_sha256(text: object) -> bool:
    """Whether `text` is a SHA-256 digest in lower-case hexadecimal."""
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def is_large(path: str, content: bytes, size: int) -> bool:
    """Whether a file is kept beside the git repository instead of inside it.

    Args:
        path: its path in the repository.
        content: its content, or its first bytes.
        size: its length in bytes.
    """
    if size == 0:
        return False
    if size > LARGE_SIZE or PurePosixPath(path).suffix.lower() in BINARY_SUFFIXES:
        return True
    return _is_binary(content, whole=len(content) == size)


def git_attributes() -> bytes:
    """Return the `.gitattributes` that tells git itself which files are LFS pointers by their suffix."""
    lines = [f"*{suffix} filter=lfs diff=lfs merge=lfs -text" for suffix in sorted(BINARY_SUFFIXES)]
    return ("\n".join(lines) + "\n").encode()


def _is_binary(content: bytes, *, whole: bool) -> bool:
    if b"\0" in content:
        return True
    try:
        content.decode()
    except UnicodeDecodeError as error:
        # A sample may end in the middle of a character: that alone does not make a file binary.
        return whole or error.start < len(content) - 3
    return False
