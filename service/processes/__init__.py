"""Several serving processes, and the sockets and signals of any."""
