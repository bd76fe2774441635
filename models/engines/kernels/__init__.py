SHARED_VARIABLE = "_SPIKESERVE_SHARED"
"""Names a private folder that the processes of one supervisor share while it runs."""
