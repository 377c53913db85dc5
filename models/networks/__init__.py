"""The networks, their layers, backbones and losses."""
