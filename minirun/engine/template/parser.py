"""The grammar of templates, by recursive descent: each method returns a closure of its part.

    block       {{if PIPELINE}} … {{else if PIPELINE}} … {{else}} … {{end}}; so too with, range
    action      {{PIPELINE}} or {{$x := PIPELINE}}
    pipeline    COMMAND | COMMAND | …
    command     OPERAND OPERAND …: the first is what is called, if that can be called
    operand     TERM.FIELD.FIELD
    term        .FIELD  .  $x  "constant"  function  (PIPELINE)
"""

from __future__ import annotations

from minirun.engine.template import evaluate, wrong
from minirun.engine.template.values import field
from minirun.engine.template.words import CONSTANTS, constant, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.template.evaluate import Command, Expression, Statement

REFUSED = {"define", "template", "block", "break", "continue"}


class Parser:
    def __init__(self, text: str) -> None:
        self.words = list(words(text))
        self.position = 0

    @property
    def what(self) -> str:
        """What the next word is."""
        return self.words[self.position][0]

    @property
    def text(self) -> str:
        return self.words[self.position][1]

    def take(self) -> str:
        self.position += 1
        return self.words[self.position - 1][1]

    def skip(self) -> bool:
        """Pass blanks; whether there were any."""
        found = self.what == "blank"
        self.position += found
        return found

    def accept(self, *wanted: str) -> str:
        """Take the next word if it is one of those; "" if not."""
        self.skip()
        return self.take() if self.what in {"name", "symbol"} and self.text in wanted else ""

    def close(self) -> None:
        """The end of an action."""
        self.skip()
        if self.what != "close":
            raise wrong(f"unexpected {self.text!r}")
        self.take()

    def whole(self) -> list[Statement]:
        return self.body()[0]

    def body(self, *ends: str) -> tuple[list[Statement], str]:
        """Statements up to one of the words that can end them, which is taken, and that word."""
        statements: list[Statement] = []
        while self.what != "eof":
            if self.what == "text":
                statements.append(evaluate.copy(self.take()))
                continue
            self.take()
            if end := self.accept("end", "else"):
                if end not in ends:
                    raise wrong(f"unexpected {{{{{end}}}}}")
                if end == "end":
                    self.close()
                return statements, end
            statements.append(self.action())
        if ends:
            raise wrong("{{end}} is missing")
        return statements, ""

    def action(self) -> Statement:
        """What comes behind ``{{``; to the end of the block, if it begins one."""
        if word := self.accept("if", "with", "range"):
            return self.block(word)
        if word := self.accept(*REFUSED):
            raise wrong(f"{{{{{word}}}}} is not there")
        names, value = self.declaration()
        self.close()
        return evaluate.run(value) if names else evaluate.show(value)

    def block(self, word: str) -> Statement:
        names, value = self.declaration(is_range=word == "range")
        self.close()
        body, end = self.body("end", "else")
        otherwise = self.otherwise() if end == "else" else []
        if word == "range":
            return evaluate.loop(names, value, body, otherwise)
        return evaluate.choose(value, body, otherwise, moves_dot=word == "with")

    def otherwise(self) -> list[Statement]:
        """Behind ``{{else``: another condition, whose end is that of all, or the last part."""
        if word := self.accept("if", "with"):
            return [self.block(word)]
        self.close()
        return self.body("end")[0]

    def declaration(self, *, is_range: bool = False) -> tuple[list[str], Expression]:
        """A pipeline, and the variables before it: ``$x := …``, ``$x = …``; ``$key, $value := …``
        in a range, which sets them itself."""
        start = self.position
        names: list[str] = []
        self.skip()
        while self.what == "variable":
            names.append(self.take())
            if is_range and self.accept(","):
                self.skip()
        how = self.accept(":=", "=")
        if not (names and how):
            self.position = start
            return [], self.pipeline()
        value = self.pipeline()
        return names, value if is_range else evaluate.assign(names[0], value, new=how == ":=")

    def pipeline(self) -> Expression:
        commands = [self.command()]
        while self.accept("|"):
            commands.append(self.command())
        return evaluate.pipe(commands)

    def command(self) -> Command:
        self.skip()
        name = self.text
        operands = [self.operand()]
        while self.skip() and self.what != "close" and self.text not in {"|", ")", ","}:
            operands.append(self.operand())
        if name in {"and", "or"}:
            return evaluate.logic(name, operands[1:])
        return evaluate.command(name, operands)

    def operand(self) -> Expression:
        value = self.term()
        while self.what == "field":
            value = evaluate.part(value, self.take()[1:])
        return value

    def term(self) -> Expression:
        what, text = self.what, self.take()
        if what == "field":
            return lambda scope: field(scope.dot, text[1:])
        if what == "dot":
            return lambda scope: scope.dot
        if what == "variable":
            return lambda scope: scope.home(text)[text]
        if what == "name" and text not in CONSTANTS:
            return lambda scope: scope.function(text)
        if text == "(":
            value = self.pipeline()
            if not self.accept(")"):
                raise wrong("a ) is missing")
            return value
        found = constant(what, text)
        return lambda scope: found
