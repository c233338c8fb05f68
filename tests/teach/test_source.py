"""``minirun source`` shows the functions that --explain tells of."""

from minirun.teach import source


def test_it_prints_a_step_as_it_stands_in_the_file(minirun):
    shown = minirun.ok("source", "make_private")
    header, _, text = shown.partition("\n")
    file, line = header.removeprefix("# ").split(":")
    lines = (source.PACKAGE.removesuffix("minirun") + file, int(line))
    with open(lines[0]) as stream:
        assert text.rstrip("\n") in stream.read()
    assert text.startswith("def make_private(setup: Setup) -> None:\n")
    assert "mount --make-" in text


def test_it_lists_the_steps_that_a_run_tells_of(minirun):
    minirun.ok("run", "--rm", "tiny", "true")
    listed = {line.split()[0] for line in minirun.ok("source").splitlines() if line[:1] == " "}
    told = minirun("run", "--rm", "--explain", "tiny", "true").stderr
    steps = {line[2:].partition(":")[0] for line in told.splitlines() if line.startswith("● ")}
    assert len(steps) > 15
    assert steps - listed == set()


def test_a_step_that_is_none_is_an_error_with_a_hint(minirun):
    done = minirun("source", "nope")
    assert done.returncode == 125
    assert "error: no step 'nope'\nhint: minirun source lists them" in done.stderr
