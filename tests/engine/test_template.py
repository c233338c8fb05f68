"""Templates: what is measured in use, what Go does, and what is refused. All pure."""

import doctest
import json
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirun.engine.template import Template, fmt, values, words
from minirun.engine.template.values import Map
from minirun.errors import UsageError

PORTS = Map({"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/tcp": None}, zero=[])
DOCUMENT = {
    "Name": "/web",
    "Args": ["a", "b"],
    "State": {"Status": "running", "Running": True, "Pid": 42, "Health": None},
    "Config": {"Env": ["A=1"], "Labels": Map({"team": "os", "app": "shop"})},
    "NetworkSettings": {
        "Ports": PORTS,
        "Networks": Map({"net": {"IPAddress": "172.18.0.2"}}, zero=None),
    },
    "Label": lambda name: {"team": "os"}.get(name, ""),
}


def render(text, data=DOCUMENT):
    return Template(text).render(data)


def test_the_examples_in_the_docstrings():
    for module in (fmt, values, words):
        assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{.Name}}: {{.State.Status}}\n", "/web: running\n"),
        ("{{.State.Running}} {{.State.Pid}}", "true 42"),
        ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "172.18.0.2"),
        ("{{.NetworkSettings.Networks.net.IPAddress}}", "172.18.0.2"),
        ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "8080"),
        (
            "{{range $p, $conf := .NetworkSettings.Ports}}{{$p}} -> "
            "{{if $conf}}{{(index $conf 0).HostPort}}{{else}}-{{end}};{{end}}",
            "80/tcp -> 8080;81/tcp -> -;",
        ),
        ("{{.NetworkSettings.Ports}}", "map[80/tcp:[{0.0.0.0 8080}] 81/tcp:<nil>]"),
        ("{{json .Config.Labels}}", '{"app":"shop","team":"os"}'),
        ('{{index .Config.Labels "team"}}', "os"),
        ('{{index .Config.Labels "nope"}}', ""),
        ("{{.Config.Labels.nope}}", "<no value>"),
        ('{{.Label "team" | upper}}', "OS"),
        ('{{join .Args ", "}} {{json .Args}}', 'a, b ["a","b"]'),
        ("{{.State.Health}}", "<nil>"),
        ("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "none"),
        ("{{with .State}}{{.Pid}} of {{$.Name}}{{end}}", "42 of /web"),
        ("{{if not .State.Running}}stopped{{end}}", ""),
        ('{{if eq .State.Status "exited" "running"}}known{{end}}', "known"),
        ("{{println .Name}}", "/web\n"),
        ('{{slice .Name 1}} {{printf "%-5s|%03d" "x" 7}}', "web x    |007"),
        ('{{title "ab cd"}}{{pad "x" 1 2}}|{{truncate "abc" 2}}|{{lower "Ä"}}', "Ab Cd x  |ab|ä"),
        ('{{split "a:b" ":"}} {{len .Args}} {{index .Args 1}}', "[a b] 2 b"),
        ("{{range .Config.Env}}{{.}}{{else}}empty{{end}}", "A=1"),
        ("a {{- .Name -}} b {{/* no */}}c {{- /* no */ -}} d", "a/webb cd"),
        ("{{$n := 1}}{{range .Args}}{{$n = .}}{{end}}{{$n}}", "b"),
        ("{{.Args | len | printf `%d`}}", "2"),
        ("{{or 0 .Name}} {{and 0 .Nope.Nope}}", "/web 0"),
        ("{{and (gt 2 1) (le 1.5 2.5)}}", "true"),
        ("no action, } and { too", "no action, } and { too"),
    ],
)
def test_what_templates_in_use_do(text, expected):
    assert render(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{.Nope}}", "there is no field .Nope"),
        ("{{.State.Helth}}", "there is no field .Helth"),
        ("{{.State.Health.Status}}", "nothing has no field .Status"),
        ("{{.Name.X}}", "a string has no field .X"),
        ("{{nope 1}}", "function 'nope' is not defined"),
        ("{{lower 5}}", "lower cannot be called with 5"),
        ("{{index .Args 5}}", "index cannot be called with [a b], 5"),
        ('{{eq 1 "1"}}', "eq cannot be called with 1, 1"),
        ("{{.Label}}", ".Label cannot be called with no arguments"),
        ("{{.Name 1}}", ".Name is no function"),
        ("{{range .State}}{{end}}", "range cannot walk over a struct"),
        ("{{if .Name}}", "{{end}} is missing"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{if .Name}}{{else}}{{else}}{{end}}", "unexpected {{else}}"),
        ("{{.Name", "an action does not end with }}"),
        ("{{", "an action does not end with }}"),
        ("{{}}", "unexpected '}}'"),
        ('{{"x}}', "unexpected"),
        ("{{(.Name}}", "a ) is missing"),
        ("{{/* x }}", "a comment does not end"),
        ("{{$x}}", "undefined variable $x"),
        ("{{if .Name}}{{$x := 1}}{{end}}{{$x}}", "undefined variable $x"),
        ('{{define "x"}}', "{{define}} is not there"),
        ('{{printf "%9999999d" 1}}', "too wide"),
        ("{{1e999}}", "unexpected '1e999'"),
        ("{{" + "(" * 5000 + "}}", "nested too deeply"),
        ("{{if 1}}" * 5000, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_said(text, said):
    with pytest.raises(UsageError) as caught:
        render(text)
    assert said in caught.value.message
    assert caught.value.message.isprintable()


def test_a_misspelt_field_is_guessed():
    with pytest.raises(UsageError) as caught:
        render("{{.state}}")
    assert caught.value.hint == "did you mean .State?"


PIECES = st.sampled_from(
    "{{ }} {{- -}} . .Name .Args .State $ $x := = , | ( ) if else end range with not eq index len "
    'printf json 0 1.5 "x" "%d" `%s` \'c\' nil true /* */ text \\'.split()
)


@given(st.lists(PIECES, max_size=12).map(" ".join) | st.text(max_size=30).map("{{{{{}}}}}".format))
def test_any_text_is_rendered_or_refused(text):
    try:
        assert isinstance(render(text), str)
    except UsageError as error:
        assert error.message.startswith("template: ")


# --- beside Go's own ------------------------------------------------------------------------------

GO_PROGRAM = """
package main

import ("bytes"; "encoding/json"; "os"; "strings"; "text/template")

func main() {
	var in struct { Data any; Templates []string }
	json.NewDecoder(os.Stdin).Decode(&in)
	functions := template.FuncMap{"join": func(items []any, by string) string {
		var words []string
		for _, item := range items { words = append(words, item.(string)) }
		return strings.Join(words, by)
	}}
	var out []string
	for _, text := range in.Templates {
		var b bytes.Buffer
		parsed, err := template.New("").Funcs(functions).Parse(text)
		if err == nil { err = parsed.Execute(&b, in.Data) }
		if err != nil { out = append(out, "error") } else { out = append(out, b.String()) }
	}
	json.NewEncoder(os.Stdout).Encode(out)
}
"""
DATA = {"Name": "web", "List": ["a", "b"], "Map": {"k": "v", "a": "b"}, "Float": 1.5, "Large": 2e9,
        "True": True, "Nil": None, "Empty": [], "Deep": {"List": [1.5, [True, None]]}}  # fmt: skip
TEMPLATES = r"""
{{.Name}}|{{.List}}|{{.Map}}|{{.Float}}|{{.Large}}|{{.True}}|{{.Empty}}|{{.Deep}}
{{.Nope}} {{.Map.nope}} {{.Name.X}}
{{.Nope.X}}
{{.Map.nope.X}}
{{range .List}}<{{.}}>{{end}}
{{range $i, $v := .List}}{{$i}}{{$v}}{{end}}{{range $v := .List}}{{$v}}{{end}}
{{range $k, $v := .Map}}{{$k}}={{$v}};{{end}}
{{range .Empty}}x{{else}}none{{end}}{{range .Nil}}x{{end}}
{{if .Empty}}a{{else if .True}}b{{else}}c{{end}}{{if .Nil}}a{{end}}{{if and .True .Name}}b{{end}}
{{with .Map}}{{.k}}{{$.Name}}{{else}}x{{end}}{{with .Nope}}a{{else}}b{{end}}
{{$x := 1}}{{if true}}{{$x = 2}}{{$x := 3}}{{$x}}{{end}}{{$x}}
{{$x := .Name}}{{$x | printf "%s-%v" "a"}}{{(index .List 1)}}{{(index .Map "k") | len}}
{{index .Deep.List 1 0}}{{index .List 2}}
{{len "é"}}{{slice "hello" 1 3}}{{slice .List 1}}
{{print 1 2 "a" "b" 2.5 true nil}}|{{println 1 "a" .Nil}}|{{print}}
{{print 1e6 1e5 123456.5 1234567.5 0.0001 0.00001 1e20 1e21 0x1F -3 +4 .5}}
{{printf "%d|%5d|%-5d|%05d|%+d|%x|%X|%o|%c|%%" 1 2 3 4 5 255 255 8 65}}
{{printf "%s|%5s|%-5s|%.2s|%q|%x|%v" "a" "b" "c" "defg" "h\"\n" "hi" "j"}}
{{printf "%f|%.2f|%8.3f|%e|%g|%v|%.1v" 1.5 2.345 3.1 4.0 5.25 6.0 2.55}}
{{printf "%t|%5t|%v" true false true}}|{{printf "%s|%v" .List .Map}}|{{printf "%d|%s|%t" "a" 1 2}}
{{printf "%d"}}|{{printf "a" 1 "b"}}|{{printf "%z" 1}}|{{printf "%"}}
{{printf "%v" nil}}|{{printf "%d" nil}}
{{eq 1 1}}{{eq 1 2 1}}{{eq "a" "b"}}{{ne 1 2}}{{lt 1 2}}{{le "a" "a"}}
{{gt 2.5 1.5}}{{ge 1 2}}{{not 0}}{{not .Nil}}
{{eq 1 "a"}}
{{eq 1 1.0}}
{{eq .List .List}}
{{eq .Nil nil}}{{ne .Name nil}}
{{or 0 "" .Name}}{{and 1 "" .Nope.X}}
{{or}}
{{"a\tb\x41\u00e9\"\\"}}{{`raw\t"x"`}}{{'a'}}{{true}}{{false}}
a {{- .Name -}} b {{/* c */}} d {{- /* e */ -}} f {{ .Name }} {{-3}} {{- 3}}
{{join .List ", "}}{{.List | len}}{{len .List | printf "%02d"}}
{{.Name 1}}
{{1 2}}
{{nope}}
{{if}}x{{end}}
{{end}}
{{.Name}
{{"a}}
{{(.Name)}}{{(.Map).k}}{{((.Map)).k}}
{{$}}
{{.}} {{ . }} {{$.Name}}
{{range 3}}{{.}}{{end}}
{{with $x := .Name}}{{$x}}{{end}}{{if $y := .Name}}{{$y}}{{end}}
{{else}}
{{if 1}}{{else}}{{else}}{{end}}
{{.List.X}}
{{range .Name}}{{end}}
""".strip().splitlines()


def as_maps(value):
    """As Go sees decoded JSON: every object is a map, every number a float."""
    if isinstance(value, dict):
        return Map({key: as_maps(item) for key, item in value.items()}, zero=None)
    return [as_maps(item) for item in value] if isinstance(value, list) else value


def test_it_prints_what_go_prints(tmp_path):
    """Each line of TEMPLATES through Go's text/template and through ours."""
    go = shutil.which("go")
    if not go:
        pytest.skip("needs go")
    (tmp_path / "main.go").write_text(GO_PROGRAM)
    command = [go, "run", tmp_path / "main.go"]
    question = json.dumps({"Data": DATA, "Templates": TEMPLATES})
    done = subprocess.run(command, input=question, text=True, capture_output=True, check=True)
    different = []
    for text, theirs in zip(TEMPLATES, json.loads(done.stdout), strict=True):
        try:
            ours = render(text, as_maps(DATA))
        except UsageError:
            ours = "error"
        if ours != theirs:
            different.append(f"{text}\n   go: {theirs!r}\n ours: {ours!r}")
    assert not different, "\n".join(different)
