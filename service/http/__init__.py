"""HTTP: what uvicorn leaves open, and what requests say besides their images."""
