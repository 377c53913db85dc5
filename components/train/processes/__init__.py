"""Several processes as one training: started, wrapped around the network, and stopped together."""
