"""The runner: how a directory (an OCI bundle) becomes a container."""
