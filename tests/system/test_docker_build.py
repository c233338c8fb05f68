"""``docker build``: each RUN is a container of our runtime, with the classic builder."""

import os

import pytest

DOCKERFILE = """
FROM busybox AS tools
RUN mkdir /out && echo made at build time > /out/note && chmod 600 /out/note
RUN ["sh", "-c", "echo $0 $$ > /out/exec-form"]

FROM busybox
ARG VERSION=none
ENV GREETING=hello
COPY sent /srv/sent
COPY --from=tools --chown=ada:analysts /out /srv/out
WORKDIR /srv/work
RUN echo "$GREETING $VERSION" > greeting && id > by && pwd > where
RUN echo carl:x:3000:3000::/tmp:/bin/sh >> /etc/passwd
USER carl
RUN cd /tmp && touch mine && stat -c '%U %a' mine > of-carl && ! touch /srv/not-mine
RUN grep -E 'CapEff|Seccomp:' /proc/self/status > /tmp/powers
CMD ["cat", "/srv/work/greeting", "/srv/work/by", "/srv/work/where", "/tmp/of-carl", "/srv/sent"]
"""
SAID = """hello 1.2
uid=0(root) gid=0(root) groups=0(root)
/srv/work
carl 644
a file
"""


@pytest.fixture
def build(docker, tmp_path):
    """``docker build`` of a Dockerfile; what it makes goes with the test."""
    (tmp_path / "sent").write_text("a file\n")

    def build_one(text, *options):
        (tmp_path / "Dockerfile").write_text(text)
        return docker.attempt("build", "--tag", "built", *options, tmp_path,
                              env=os.environ | {"DOCKER_BUILDKIT": "0"})

    yield build_one
    docker.attempt("rmi", "--force", "built")
    docker("image", "prune", "--force")


def test_build(docker, build):
    done = build(DOCKERFILE, "--build-arg", "VERSION=1.2")
    assert done.returncode == 0, done.stdout + done.stderr
    run = ("run", "--rm", "--network", "none", "built")
    assert docker(*run) == SAID
    files = "cd /srv; ls -ln out/note sent | cut -c1-30; cat out/exec-form /tmp/powers; id -un"
    listed = docker(*run, "sh", "-c", files).split("\n")
    assert listed[0].split() == ["-rw-------", "1", "1000", "2000"]
    assert listed[2] == "sh 1"
    assert listed[3].split() == ["CapEff:", "0000000000000000"]
    assert listed[4].split() == ["Seccomp:", "2"]
    assert listed[5] == "carl"


def test_a_step_that_fails_ends_the_build_with_its_exit_code(docker, build):
    done = build("FROM busybox\nRUN exit 7\nRUN echo not reached\n")
    assert done.returncode == 7
    assert "returned a non-zero code: 7" in done.stderr
    assert "not reached" not in done.stdout.replace("RUN echo not reached", "")
    done = build('FROM busybox\nRUN ["no-such-command"]\n')
    assert done.returncode != 0
    assert "no-such-command" in done.stderr


def test_limits_and_network_of_the_steps(docker, build):
    limit = "cd /sys/fs/cgroup; cat memory.max || cat memory/memory.limit_in_bytes"
    text = f"FROM busybox\nRUN {limit}; ls /sys/class/net\n"
    done = build(text, "--memory", "32m", "--network", "none", "--no-cache")
    assert done.returncode == 0, done.stderr
    assert "33554432\nlo\n" in done.stdout
