"""Guarded openai clients for guardreasoner-sdk."""
