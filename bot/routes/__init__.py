"""HTTP edges: decode, one verb, answer."""
