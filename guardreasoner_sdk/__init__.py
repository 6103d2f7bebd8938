"""A safety guard that reasons, in front of and behind any chat model."""
