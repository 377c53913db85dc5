"""How work runs: errors, files, parameters, processes, the engine. Changes no byte of a result."""
