"""How int8 ranges were found and where they lie: names that need no torch."""

from typing import Literal

Method = Literal["quantization-aware training", "post-training quantization"]
# How ranges were found, as a file of them says.
LEARNED: Method = "quantization-aware training"
CALIBRATED: Method = "post-training quantization"
# Where ranges lie beside a model's weights, which stay floats.
RANGES_FILE = "quantization.safetensors"
