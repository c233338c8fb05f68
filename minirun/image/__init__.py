"""The puller: how bytes in a registry become a root filesystem."""
