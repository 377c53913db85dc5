"""Studies: grids over parameters, and what their cells' scores say."""
