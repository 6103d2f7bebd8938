"""Guarded langchain clients for guardreasoner-sdk."""
