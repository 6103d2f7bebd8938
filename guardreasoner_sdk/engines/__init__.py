"""What runs models: each engine in a module of its own, imported by name, so that none costs what it needs.

An engine implements one of the two ports of `guardreasoner_sdk.ports` and does not know what a verdict is.
"""
