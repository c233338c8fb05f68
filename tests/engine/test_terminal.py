"""``run -it`` through a real pseudoterminal: keys, sizes, signals, and the terminal afterwards."""

import os
import signal
import time

import pytest

from tests.screen import PATIENCE, Screen


@pytest.fixture
def screen(minirun):
    opened = []

    def open_one(*words, **options):
        command = [*minirun.command(), "run", "--rm", *words]
        opened.append(Screen(command, minirun.env, **options))
        return opened[-1]

    minirun.ok("images")  # the embedded images are made now, not while somebody types
    yield open_one
    for one in opened:
        one.close()
    if names := minirun.ok("ps", "-aq").split():
        minirun.ok("rm", "-f", *names)


def test_a_shell_at_a_terminal(screen):
    shell = screen("-it", "tiny", "sh", size=(30, 100))
    shell.expect("/ # ")
    shell.type("stty size; tty; echo $TERM; echo out >&2\r")
    shell.expect("echo out >&2\r\n")
    text = shell.expect("out\r\n")
    shell.type("exit 7\r")
    assert shell.finish() == 7
    assert "30 100\r\n/dev/pts/0\r\nxterm\r\n" in text


def test_rl05_the_size_is_right_from_the_first_instruction(screen):
    for size in ((10, 20), (50, 132)):
        one = screen("-it", "tiny", "stty", "size", size=size)
        one.expect(f"{size[0]} {size[1]}")
        assert one.finish() == 0


def test_rl05_a_hundred_resizes_arrive_and_the_last_one_stays(screen):
    shell = screen("-it", "tiny", "sh")
    shell.expect("/ # ")
    for rows in range(10, 110):
        shell.resize(rows, 77)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        shell.type("echo now $(stty size)\r")
        shell.expect("\r\nnow ")
        if shell.expect("\r\n") == "109 77":
            break
    else:
        pytest.fail("the last size never arrived")
    shell.type("exit\r")
    assert shell.finish() == 0


def test_control_c_reaches_the_program_and_not_minirun(screen):
    shell = screen("-it", "tiny", "sh")
    shell.expect("/ # ")
    shell.type("sh -c 'echo it; echo runs; exec sleep 60'\r")
    shell.expect("it\r\nruns\r\n")
    shell.type("\x03")
    shell.expect("/ # ")
    shell.type("echo $?\r")
    shell.expect("130\r\n")
    shell.expect("/ # ")
    shell.type("\x04")  # ^D: the shell ends with the code of its last command
    assert shell.finish() == 0


def test_control_z_stops_a_program_inside(screen):
    shell = screen("-it", "tiny", "sh")
    shell.expect("/ # ")
    shell.type("sh -c 'echo it; echo runs; exec sleep 60'\r")
    shell.expect("it\r\nruns\r\n")
    shell.type("\x1a")
    shell.expect("Stopped")
    shell.type("kill -9 %1; sleep 0.2; jobs\r")
    shell.expect("Killed")
    shell.type("exit 0\r")
    assert shell.finish() == 0


def test_rl05_killed_from_outside_the_terminal_is_restored(screen, minirun):
    shell = screen("-it", "--name", "web", "tiny", "sh")
    shell.expect("/ # ")
    minirun.ok("rm", "-f", "web")
    assert shell.finish() == 137


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_sent_to_minirun_are_passed_on(screen, number):
    line = f"trap 'echo got it; exit 5' {number}; echo ready; while :; do sleep 0.05; done"
    one = screen("-it", "tiny", "sh", "-c", line)
    one.expect("ready")
    one.process.send_signal(number)
    one.expect("got it")
    assert one.finish() == 5


def test_the_last_words_are_not_lost(screen):
    """Also of a program that ends while nobody reads: what waits in the terminal comes out."""
    one = screen("-it", "tiny", "sh", "-c", "seq 20000; echo the end")
    time.sleep(2)
    one.expect("\r\n20000\r\nthe end\r\n")
    assert one.finish() == 0


def test_many_keys_at_once_all_arrive(screen):
    """More than a terminal's buffer: they wait in minirun until the program reads on."""
    line = "stty raw -echo; echo ready; sleep 1; head -c 60000 | wc -c"
    one = screen("-it", "tiny", "sh", "-c", line)
    one.expect("ready")
    data = "x" * 60000
    while data:
        data = data[os.write(one.master, data[:1000].encode()) :]
        one.read(0)
    one.expect("60000")
    assert one.finish() == 0


def test_t_without_i_shows_but_does_not_listen(screen):
    one = screen("-t", "tiny", "sh", "-c", "tty; read -t 2 line || echo heard nothing")
    one.expect("/dev/pts/0")
    one.type("a line\r")
    one.expect("heard nothing")
    assert one.finish() == 0


def test_t_into_a_pipe_needs_no_terminal(minirun):
    done = minirun("run", "--rm", "-t", "tiny", "sh", "-c", "echo out; echo err >&2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\r\nerr\r\n", "")


def test_it_without_a_terminal_is_an_error_in_dockers_words(minirun):
    done = minirun("run", "--rm", "-it", "tiny", "sh")
    assert done.returncode == 125
    assert "stdin is not a terminal" in done.stderr and "hint: " in done.stderr


@pytest.mark.parametrize(("words", "code"), [
    (["/nope"], 127), (["/etc/passwd"], 126), (["true"], 0), (["false"], 1),
])  # fmt: skip
def test_commands_that_end_at_once(screen, words, code):
    one = screen("-it", "tiny", *words)
    assert one.finish() == code


def test_a_shell_goes_on_without_its_terminal_and_is_found_again(screen, minirun):
    shell = screen("-it", "--name", "web", "tiny", "sh")
    shell.expect("/ # ")
    shell.process.kill()
    shell.process.wait()
    again = Screen([*minirun.command(), "attach", "web"], minirun.env)
    again.type("echo it is $((6 * 7))\r")
    again.expect("it is 42")
    again.type("exit 3\r")
    assert again.finish() == 3
    again.close()


def test_rl05_keys_let_go_of_it_and_it_goes_on(screen, minirun):
    shell = screen("-it", "--name", "web", "--detach-keys", "ctrl-x,q", "tiny", "sh")
    shell.expect("/ # ")
    shell.type("\x18q")
    assert shell.finish() == 0
    assert minirun.ok("inspect", "-f", "{{.State.Status}}", "web") == "running\n"


def test_the_out_of_memory_killer_is_named_at_a_terminal_too(screen):
    one = screen("-it", "-m", "16m", "tiny", "tail", "-c", "90m", "/dev/zero")
    one.expect("killed by the out-of-memory killer")
    assert one.finish() == 137


def test_who_was_killed_otherwise_was_not_out_of_memory(screen, minirun):
    one = screen("-it", "--name", "web", "tiny", "sh", "-c", "echo ready; sleep 60")
    one.expect("ready")
    minirun.ok("rm", "-f", "web")
    assert one.finish() == 137
    assert b"out-of-memory" not in one.seen
