"""The arrows of the design: what each part may import, and what the runtime must never load.

Two kinds of checks. The source of every file is read for its imports (all of them, also those
inside functions), and a fresh interpreter says what is loaded after the runtime's start.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "minirun"
SHARED = {
    "minirun",
    "minirun.__version__",
    "minirun.calls",
    "minirun.document",
    "minirun.elf",
    "minirun.errors",
    "minirun.explain",
    "minirun.idmap",
    "minirun.linux",
    "minirun.defaults",
    "minirun.seccomp_profile",
}

# part -> (our own packages it may name, third-party packages it may name)
ALLOWED = {
    "image": ({"minirun.image"}, {"requests", "urllib3", "isal", "zstandard"}),
    "runtime": ({"minirun.runtime"}, {"prctl"}),
    "engine": ({"minirun.image", "minirun.engine", "minirun.teach"}, {"click", "pyroute2"}),
    "teach": ({"minirun.image", "minirun.engine", "minirun.teach"}, {"click"}),
}

# What would cost start-up time, or belongs to another part (DESIGN: the start-up budget).
NEVER_IN_RUNTIME = {
    "click", "requests", "pyroute2", "dataclasses", "logging", "typing", "pathlib", "subprocess",
    "inspect", "minirun.image", "minirun.engine", "minirun.teach",
}


def imported(source: Path) -> set[str]:
    """Every module that the file names in an import, but for those only a type checker follows."""
    tree = ast.parse(source.read_text())
    checked_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in checked_only:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: relative import"
            module = node.module or ""
            names |= {f"{module}.{a.name}" if module == "minirun" else module for a in node.names}
    return names


def is_within(module: str, packages: set[str]) -> bool:
    return any(module == p or (p != "minirun" and module.startswith(p + ".")) for p in packages)


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_a_part_imports_only_what_the_design_allows(part):
    own, third_party = ALLOWED[part]
    wrong = []
    for source in sorted((PACKAGE / part).rglob("*.py")):
        for module in sorted(imported(source)):
            top = module.split(".")[0]
            if top in sys.stdlib_module_names or top in third_party:
                continue
            if not is_within(module, SHARED | own):
                wrong.append(f"{source.relative_to(ROOT)} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_the_runtime_has_no_defaults_of_its_own():
    """A container is what its config.json says; only ``spec``, which writes one, knows defaults."""
    defaults = {"minirun.defaults", "minirun.seccomp_profile"}
    files = (PACKAGE / "runtime").rglob("*.py")
    knowing = {str(file.relative_to(PACKAGE)) for file in files if imported(file) & defaults}
    assert knowing == {"runtime/commands/spec.py"}


def loaded_after(statement: str) -> set[str]:
    """The modules of a fresh interpreter, started as the launcher starts it, after a statement."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {statement}; print(*sys.modules)"
    command = [sys.executable, "-SI", "-c", script]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return set(output.split())


def test_the_runtime_starts_without_what_it_does_not_need():
    loaded = loaded_after("import minirun.runtime.cli")
    assert "minirun.runtime.cli" in loaded
    assert not {m for m in loaded if is_within(m, NEVER_IN_RUNTIME)}


def test_a_container_ends_without_ctypes():
    loaded = loaded_after("import minirun.runtime.cgroup, minirun.runtime.commands.delete")
    assert not loaded & {"ctypes", "minirun.linux", "minirun.runtime.spec"}


def test_the_front_end_starts_without_the_registry_client():
    """`minirun --help` and `minirun run` of a local image never pay for requests and pyroute2."""
    site = {p for p in sys.path if p.endswith("site-packages")}
    loaded = loaded_after(f"sys.path += {sorted(site)!r}; import minirun.engine.cli")
    assert "minirun.engine.cli" in loaded
    assert not loaded & {"requests", "pyroute2", "prctl"}
    assert not {m for m in loaded if is_within(m, {"minirun.runtime"})}


def test_every_file_is_one_concept():
    """60 to 300 lines a file (tables aside: data, and linux.py); a function fits a screen."""
    tables = {"syscalls.py", "schema.py", "seccomp_profile.py", "linux.py"}
    long = []
    for source in sorted(PACKAGE.rglob("*.py")):
        text = source.read_text()
        if source.name not in tables and text.count("\n") > 330:
            long.append(f"{source.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > 60:
                    long.append(f"{source.relative_to(ROOT)}: {node.name} has {lines} lines")
    assert not long, "\n".join(long)


# Tables, and what only some containers or commands come to: each is imported where it is needed.
TABLES = {"schema", "syscalls", "fields"}
SELDOM = {
    "agent", "apparmor", "copyup", "criu", "delegation", "explain", "lend", "netdevices",
    "scheduling", "stats", "systemd",
    *(f"commands/{name}" for name in "checkpoint restore events features list pause ps resume spec "
      "update".split()),
}  # fmt: skip


def lines_of_code(source: Path) -> int:
    """Lines with code: no blank ones, no comments and docstrings, no tables (assignments)."""
    tree = ast.parse(source.read_text())
    tables = [node for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)]
    texts = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    without = {
        line for node in tables + texts for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    lines = enumerate(source.read_text().splitlines(), 1)
    return sum(
        1 for number, line in lines
        if number not in without and line.strip() and not line.strip().startswith("#")
    )  # fmt: skip


def test_the_core_that_a_container_passes_through_stays_small():
    """What there is to read between ``minirun-oci run`` and the command: under 4,000 lines."""
    runtime = PACKAGE / "runtime"
    core = [
        source
        for source in runtime.rglob("*.py")
        if not {source.stem, str(source.relative_to(runtime))[:-3]} & (TABLES | SELDOM)
    ]
    shared = ("calls", "document", "elf", "idmap", "linux")
    calls = [PACKAGE / f"{name}.py" for name in shared]
    assert (total := sum(map(lines_of_code, [*calls, *core]))) < 4000, total
    module_level = {
        f"{source.relative_to(runtime)}: {name}"
        for source in core
        for node in ast.parse(source.read_text()).body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("minirun.runtime")
        for name in (alias.name for alias in node.names)
        if name in SELDOM
    }
    assert not module_level
