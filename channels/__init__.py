"""The wires to the citizen's and the caseworker's platforms."""
