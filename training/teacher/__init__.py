"""Plain ANNs that spiking networks are taught by: strong for little compute."""
