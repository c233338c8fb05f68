"""Instructions of a Dockerfile that change a config: what each makes of it, and what none does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirun.errors import UsageError
from minirun.image import instructions, manifest

CASES = [
    ("CMD echo $HOME", {"Cmd": ["/bin/sh", "-c", "echo $HOME"]}),
    ('CMD ["echo", "$HOME"]', {"Cmd": ["echo", "$HOME"]}),
    ("cmd []", {"Cmd": []}),
    ('CMD ["echo", 1]', {"Cmd": ["/bin/sh", "-c", '["echo", 1]']}),
    ('ENTRYPOINT ["top"]', {"Entrypoint": ["top"]}),
    ("ENV A=1 B='two words'", {"Env": ["A=1", "B=two words"]}),
    ("ENV A some value", {"Env": ["A=some value"]}),
    ("LABEL a=b org.x=\"c d\"", {"Labels": {"a": "b", "org.x": "c d"}}),
    ("EXPOSE 80 53/udp 7000-7001", {"ExposedPorts": {
        "80/tcp": {}, "53/udp": {}, "7000/tcp": {}, "7001/tcp": {}}}),
    ("VOLUME /data /log", {"Volumes": {"/data": {}, "/log": {}}}),
    ('VOLUME ["/with blank"]', {"Volumes": {"/with blank": {}}}),
    ("USER ada:staff", {"User": "ada:staff"}),
    ("WORKDIR srv/../www", {"WorkingDir": "/www"}),
    ("STOPSIGNAL SIGQUIT", {"StopSignal": "SIGQUIT"}),
    ('SHELL ["/bin/bash", "-c"]', {"Shell": ["/bin/bash", "-c"]}),
    ("ONBUILD RUN make", {"OnBuild": ["RUN make"]}),
    ("HEALTHCHECK NONE", {"Healthcheck": {"Test": ["NONE"]}}),
    ("HEALTHCHECK --interval=1m30s --retries=2 CMD wget x || exit 1", {"Healthcheck": {
        "Test": ["CMD-SHELL", "wget x || exit 1"], "Interval": 90 * 10**9, "Retries": 2}}),
    ('HEALTHCHECK CMD ["true"]', {"Healthcheck": {"Test": ["CMD", "true"]}}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "config"), CASES)
def test_what_an_instruction_says(text, config):
    found = {}
    instructions.apply(found, text)
    assert found == config


def test_they_build_on_what_was_there():
    config = {"Env": ["PATH=/bin", "A=0"], "WorkingDir": "/srv", "Labels": None,
              "Volumes": {"/old": {}}}
    for text in ("ENV A=1", "WORKDIR www", "LABEL x=y", "VOLUME /new", 'SHELL ["/bin/ash", "-e"]',
                 "CMD ls"):
        instructions.apply(config, text)
    assert config == {"Env": ["PATH=/bin", "A=1"], "WorkingDir": "/srv/www", "Labels": {"x": "y"},
                      "Volumes": {"/old": {}, "/new": {}}, "Shell": ["/bin/ash", "-e"],
                      "Cmd": ["/bin/ash", "-e", "ls"]}


@pytest.mark.parametrize("text", [
    "", "RUN make", "COPY a b", "CMD", "ENV", "ENV A", "ENV =x", "EXPOSE x", "EXPOSE 0",
    "EXPOSE 70000", "EXPOSE 9-8", "EXPOSE 80/ftp", "EXPOSE 80/", "USER a b", "USER ''",
    "WORKDIR", "STOPSIGNAL NOPE", "SHELL /bin/sh", "ONBUILD FROM x", "LABEL a", 'ENV A="open',
    "HEALTHCHECK CMD", "HEALTHCHECK --interval=x CMD y", "HEALTHCHECK --nope=1 CMD y",
    "VOLUME ['']x\0", "CMD a\nRUN b", 'VOLUME [""]',
])  # fmt: skip
def test_what_makes_no_sense_is_refused_and_changes_nothing(text):
    config = {}
    with pytest.raises(UsageError):
        instructions.apply(config, text)
    assert config == {}


@given(st.sampled_from(list(instructions.INSTRUCTIONS)), st.text())
def test_any_text_gives_a_config_that_an_image_may_have_or_an_error(name, text):
    config = {}
    try:
        instructions.apply(config, f"{name} {text}")
    except UsageError:
        assert config == {}
        return
    document = {"os": "linux", "architecture": "amd64", "config": config,
                "rootfs": {"type": "layers", "diff_ids": []}}
    manifest.check_config(document, "it", 0)
