"""Lists: tables, templates, JSON, filters, and what Docker's units look like. All pure."""

import doctest
import json

import pytest

from minirun.engine import filters, output, table, times
from minirun.errors import UsageError

THINGS = [{"id": "b" * 12, "name": "web", "labels": {"team": "os"}},
          {"id": "c" * 12, "name": "a-long-name", "labels": {}}]  # fmt: skip
FIELDS = {
    "ID": ("CONTAINER ID", lambda thing: thing["id"]),
    "Names": ("NAMES", lambda thing: thing["name"]),
    "Label": (None, lambda thing, name: thing["labels"].get(name, "")),
    "Costly": ("COSTLY", lambda thing: 1 / 0),
}


def test_the_examples_in_the_docstrings():
    for module in (filters, table, times):
        assert doctest.testmod(module).failed == 0


def shown(capsys, form=None, things=THINGS, columns=("ID", "Names"), **options):
    fields = {name: field for name, field in FIELDS.items() if name != "Costly"}
    output.show(things, fields, columns, form, **options)
    return capsys.readouterr().out


@pytest.mark.parametrize("form", [None, "", "table"])
def test_columns_are_as_wide_as_dockers(capsys, form):
    assert shown(capsys, form, columns=("Names", "ID")) == (
        "NAMES         CONTAINER ID\nweb           bbbbbbbbbbbb\na-long-name   cccccccccccc\n"
    )
    assert shown(capsys, form, THINGS[:1], ("Names", "ID")) == (
        "NAMES     CONTAINER ID\nweb       bbbbbbbbbbbb\n"  # never narrower than 10
    )
    assert shown(capsys, form, []) == "CONTAINER ID   NAMES\n"


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("{{.Names}}", "web\na-long-name\n"),
        (r"{{.ID}}\t{{.Names}}", "bbbbbbbbbbbb\tweb\ncccccccccccc\ta-long-name\n"),
        ('{{.Label "team"}}', "os\n\n"),
        (r"table {{.Names}}\t{{.ID}}", "NAMES         CONTAINER ID\nweb           bbbbbbbbbbbb\n"
         "a-long-name   cccccccccccc\n"),
        (r'table {{upper .Names}}\t{{.Label "a.b-c"}}',
         "NAMES         b c\nWEB\nA-LONG-NAME\n"),
        (r"table {{lower .Names}}\t{{.ID}}", "NAMES         CONTAINER ID\n"
         "web           bbbbbbbbbbbb\na-long-name   cccccccccccc\n"),
        ("table\t{{.Names}}", "NAMES\nweb\na-long-name\n"),
    ],
)  # fmt: skip
def test_templates(capsys, form, expected):
    assert shown(capsys, form) == expected


def test_json_is_a_line_for_each(capsys):
    lines = shown(capsys, "json").splitlines()
    assert lines[0] == '{"ID":"bbbbbbbbbbbb","Names":"web"}'
    assert [json.loads(line)["Names"] for line in lines] == ["web", "a-long-name"]
    assert shown(capsys, "{{json .}}").splitlines() == lines


def test_quiet_prints_the_key_unless_there_is_a_template(capsys):
    ids = "bbbbbbbbbbbb\ncccccccccccc\n"
    assert shown(capsys, quiet=True) == ids
    assert shown(capsys, quiet=True, key="Names") == "web\na-long-name\n"
    assert shown(capsys, "table", quiet=True) == ids
    assert shown(capsys, "{{.Names}}", quiet=True) == "web\na-long-name\n"


def test_a_field_that_is_not_shown_is_not_computed(capsys):
    output.show(THINGS, FIELDS, ("ID",), None)
    output.show(THINGS, FIELDS, ("ID",), "table {{.ID}}")
    assert "bbbb" in capsys.readouterr().out
    with pytest.raises(ZeroDivisionError):
        output.show(THINGS, FIELDS, ("ID",), "{{.Costly}}")


def test_a_terminal_gets_no_control_characters(capsys, monkeypatch):
    things = [{"id": "x", "name": "a\x1b[2Jb\nc", "labels": {}}]
    assert shown(capsys, "{{.Names}}", things) == "a\x1b[2Jb\nc\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert shown(capsys, "{{.Names}}", things) == "a\\x1b[2Jb\nc\n"
    assert "\x1b" not in shown(capsys, None, things)


def test_a_field_that_there_is_not(capsys):
    with pytest.raises(UsageError) as caught:
        shown(capsys, "{{.Name}}")
    assert caught.value.hint == "did you mean .Names?"


TESTS = {
    "name": filters.pattern(lambda thing: [thing["name"]]),
    "label": filters.label(lambda thing: thing["labels"]),
    "label!": filters.label(lambda thing: thing["labels"], without=True),
    "status": filters.one_of("status", ("up", "down"), lambda thing: "up"),
    "dangling": filters.truth("dangling", lambda thing: thing["name"] == "web"),
}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("", "web a-long-name"),
        ("name=^web$", "web"),
        ("name=long name=eb", "web a-long-name"),
        ("name=we name=long label=team", "web"),
        ("label=team=os", "web"),
        ("label=team=x", ""),
        ("label=team label=team=x", ""),
        ("label!=team", "a-long-name"),
        ("status=up", "web a-long-name"),
        ("status=down", ""),
        ("status=down status=up", "web a-long-name"),
        ("dangling=false", "a-long-name"),
        ("dangling=1", "web"),
    ],
)
def test_filters(words, names):
    keep = filters.keep(words.split(), TESTS)
    assert " ".join(thing["name"] for thing in THINGS if keep(thing)) == names


@pytest.mark.parametrize(
    "word", ["x", "nope=1", "status=sideways", "dangling=maybe", "name=(", "=", "name\x1b[=x"]
)
def test_filters_that_are_refused(word):
    with pytest.raises(UsageError) as caught:
        filters.keep([word], TESTS)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("text", ["", "yesterday", "1h30", "-5m", "2024-13-01", "1e3", "9" * 30])
def test_times_that_are_none(text):
    with pytest.raises(UsageError):
        times.moment(text)
    assert times.interval(text) is None
