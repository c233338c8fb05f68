"""Any words behind any flag are an edit of config.json, or one of our errors: no traceback."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirun import defaults
from minirun.engine import edits, logoptions, options, variables
from minirun.errors import Error

# What values are made of, so that many of them get past the first check.
PIECES = st.sampled_from(
    "0 1 -1 64 m g = : , / . * ~ % host private container: none shareable c b a rwm r w "
    "/dev/null /dev/full /dev /etc /etc/hostname nofile core unlimited kernel.msgmax net. "
    "nvidia.com/gpu=all all device= seccomp= apparmor= no-new-privileges NET_ADMIN ALL CAP_ "
    "max-size= max-file= root 1000 ä ' \" # \\ \n \x1b".split(" ")
)
VALUES = st.lists(PIECES, max_size=6).map("".join) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12
)
ROWS = [row for row in (*options.SPEC, *options.LIFE) if not row.is_switch]


def apply(wanted):
    spec = defaults.config()
    edits.apply(spec, wanted)
    logoptions.size_and_files(wanted)
    variables.labels(wanted)
    return spec


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_value(row, data):
    value = data.draw(VALUES)
    try:
        spec = apply({row.key: (value,) if row.many else value})
    except (Error, OSError) as error:  # of the system: the command line shows it as its own
        assert "Traceback" not in str(error)
    else:
        json.dumps(spec)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(ROWS), VALUES, max_size=5))
def test_any_values_together(rows):
    try:
        json.dumps(apply({row.key: (value,) if row.many else value for row, value in rows.items()}))
    except (Error, OSError):
        pass
