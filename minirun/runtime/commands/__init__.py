"""The commands of ``minirun-oci``, a module each, imported when it is called and not before.

Such a module has OPTIONS (options.py), ARGUMENTS (in the form of a usage line: "[X]" may be left
out, "X…" is all that follows, whatever it looks like) and ``run(options, *arguments)``, which
returns the exit code, or None for 0. Its docstring is what ``--help`` shows.
"""
