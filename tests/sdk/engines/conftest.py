"""No test here may reach for a model hub: what it answers is not ours to depend on."""

import os

# Read when huggingface_hub is imported, so a fixture would come too late.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
