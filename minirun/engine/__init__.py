"""The front end: what Docker adds around a runtime."""
