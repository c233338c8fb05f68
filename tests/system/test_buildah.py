"""buildah builds an image, and minirun-oci runs its RUN lines: --isolation oci, not chroot."""

import json

import pytest

from tests import images
from tests.components import private_network, require
from tests.daemons import Engine, cgroups_removed, other_runtimes, show_limit
from tests.images import run

DOCKERFILE = """
FROM tiny-base
ENV GREETING=hello
RUN echo $GREETING > /note && cat /proc/1/comm > /first && true
COPY --chown=1000:1000 data /home/ada/data
RUN ["/bin/sh", "-c", "test $(stat -c %u /home/ada/data) = 1000"]
USER ada
WORKDIR /home/ada
RUN id -un > who && pwd > where && ! touch /refused 2>/dev/null
CMD ["cat", "/note"]
"""


@pytest.fixture(scope="module")
def buildah(tmp_path_factory, tidy_module):
    require("conmon", "buildah")
    directory = tmp_path_factory.mktemp("buildah")
    (directory / "containers.conf").write_text('[containers]\ndefault_ulimits = []\n')
    # buildah gives no cgroupsPath: each runtime takes what it thinks fit
    with other_runtimes(), private_network() as enter, cgroups_removed("minirun", "buildah"):
        command = [*enter, "env", f"CONTAINERS_CONF={directory}/containers.conf", "buildah",
                   "--root", f"{directory}/graph", "--runroot", f"{directory}/run",
                   "--storage-driver", "overlay"]
        engine = Engine(command, str(directory), enter)
        engine("pull", "--quiet", f"oci:{images.layout('busybox')}:latest")
        image = engine("images", "--quiet", "--no-trunc").strip().removeprefix("sha256:")
        engine("tag", image, "tiny-base")
        yield engine


@pytest.fixture
def build(buildah, oci_runtime, tmp_path):
    def build_one(dockerfile, *options):
        (tmp_path / "Dockerfile").write_text(dockerfile)
        (tmp_path / "data").write_text("data\n")
        return buildah.attempt("bud", "--runtime", oci_runtime, "--isolation", "oci", "--network",
                               "none", "--tag", "built", *options, tmp_path)
    return build_one


def files(buildah, tmp_path, *names):
    """What is in files of the image that was built."""
    buildah("push", "built", f"oci:{tmp_path}/layout:latest")
    run("umoci", "unpack", "--image", f"{tmp_path}/layout:latest", tmp_path / "bundle")
    return [(tmp_path / "bundle/rootfs" / name).read_text() for name in names]


def test_an_image(buildah, build, tmp_path):
    done = build(DOCKERFILE)
    assert done.returncode == 0, done.stderr
    names = ("note", "first", "home/ada/data", "home/ada/who", "home/ada/where")
    said = files(buildah, tmp_path, *names)
    assert said == ["hello\n", "sh\n", "data\n", "ada\n", "/home/ada\n"]
    config = json.loads(buildah("inspect", "--type", "image", "built"))["OCIv1"]["config"]
    assert (config["User"], config["WorkingDir"], config["Cmd"]) == (
        "ada", "/home/ada", ["cat", "/note"])


def test_a_line_that_fails_ends_the_build(build):
    done = build("FROM tiny-base\nRUN echo here; exit 7\n")
    assert done.returncode != 0
    assert "here" in done.stdout
    assert "exit status 7" in done.stderr


def test_the_runtime_is_what_runs(buildah, tmp_path):
    """Another runtime, another outcome: no isolation of buildah's own takes its place."""
    (tmp_path / "Dockerfile").write_text("FROM tiny-base\nRUN true\n")
    done = buildah.attempt("bud", "--runtime", "/bin/false", "--isolation", "oci", "--network",
                           "none", tmp_path)
    assert done.returncode != 0
    assert "/bin/false" in done.stderr


def test_limits_and_powers(buildah, build, tmp_path):
    done = build(f"""
        FROM tiny-base
        WORKDIR /tmp
        RUN grep -E '^(CapEff|Seccomp):' /proc/self/status > powers
        RUN ulimit -n > files; ({show_limit("memory")}) > memory
    """, "--memory", "64m", "--ulimit", "nofile=100:100", "--cap-drop", "all")
    assert done.returncode == 0, done.stderr
    powers, open_files, memory = files(buildah, tmp_path, "tmp/powers", "tmp/files", "tmp/memory")
    assert powers == "CapEff:\t0000000000000000\nSeccomp:\t2\n"
    assert (open_files, memory) == ("100\n", f"{64 << 20}\n")


def test_run_in_a_working_container(buildah, oci_runtime):
    name = buildah("from", "tiny-base").strip()
    done = buildah.attempt("run", "--runtime", oci_runtime, "--isolation", "oci", "--network",
                           "none", "--volume", "/etc/hostname:/outside:ro", name, "sh", "-c",
                           "cat /outside; touch /outside 2>/dev/null || echo refused; exit 3")
    with open("/etc/hostname") as file:
        assert done.stdout == f"{file.read()}refused\n", done.stderr
    assert done.returncode == 3
    buildah("rm", name)
