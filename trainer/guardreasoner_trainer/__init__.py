"""Training of custom guards: data, recipes and the embedded screener."""
