"""One file for each command of minirun, imported when it is called."""
