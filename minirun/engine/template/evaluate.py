"""What the parts of a template do to data: the closures that the parser makes."""

from __future__ import annotations

from minirun.engine.template import fmt, wrong
from minirun.engine.template.values import field, is_true, kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    Statement = Callable[["Scope"], None]
    Expression = Callable[["Scope"], Any]
    Command = Callable[["Scope", tuple[Any, ...]], Any]  # the tuple: what came through the pipe


class Scope:
    """Where a part is evaluated: the dot, the variables, the functions, and what was written."""

    def __init__(
        self, dot: Any, functions: Mapping[str, Callable[..., Any]], outer: Scope | None = None
    ) -> None:
        self.dot, self.functions, self.outer = dot, functions, outer
        self.variables: dict[str, Any] = {} if outer else {"$": dot}
        self.out: list[str] = outer.out if outer else []

    def inner(self, dot: Any) -> Scope:
        """The inside of a block: its variables end with it."""
        return Scope(dot, self.functions, self)

    def home(self, name: str) -> dict[str, Any]:
        """The variables that ``name`` is one of."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.variables:
                return scope.variables
            scope = scope.outer
        raise wrong(f"undefined variable {name}")

    def function(self, name: str) -> Callable[..., Any]:
        try:
            return self.functions[name]
        except KeyError:
            hint = "there are: " + ", ".join(self.functions)
            raise wrong(f"function {name!r} is not defined", hint) from None


def execute(statements: Iterable[Statement], scope: Scope) -> None:
    for statement in statements:
        statement(scope)


def copy(text: str) -> Statement:
    return lambda scope: scope.out.append(text)


def show(value: Expression) -> Statement:
    return lambda scope: scope.out.append(fmt.text(value(scope)))


def run(value: Expression) -> Statement:
    def statement(scope: Scope) -> None:
        value(scope)

    return statement


def assign(name: str, value: Expression, *, new: bool) -> Expression:
    def expression(scope: Scope) -> Any:
        home = scope.variables if new else scope.home(name)
        home[name] = found = value(scope)
        return found

    return expression


def choose(
    value: Expression, body: list[Statement], otherwise: list[Statement], *, moves_dot: bool
) -> Statement:
    """``if``, and ``with``, inside which the value is the dot."""

    def statement(scope: Scope) -> None:
        inner = scope.inner(scope.dot)
        found = value(inner)
        is_chosen = is_true(found)
        if is_chosen and moves_dot:
            inner.dot = found
        execute(body if is_chosen else otherwise, inner)

    return statement


def loop(
    names: list[str], value: Expression, body: list[Statement], otherwise: list[Statement]
) -> Statement:
    def statement(scope: Scope) -> None:
        found = pairs(value(scope))
        for pair in found:
            inner = scope.inner(pair[1])
            inner.variables.update(zip(names, pair[-len(names) :], strict=False))
            execute(body, inner)
        if not found:
            execute(otherwise, scope)

    return statement


def pairs(value: Any) -> list[tuple[Any, Any]]:
    """What ``range`` walks over: keys and values, the keys of a list being its indices."""
    what = kind(value)
    if what == "map":
        return list(value.items())
    if what == "list":
        return list(enumerate(value))
    if what == "nil":
        return []
    raise wrong(f"range cannot walk over a {what}")


def pipe(commands: Sequence[Command]) -> Expression:
    first, *rest = commands

    def expression(scope: Scope) -> Any:
        value = first(scope, ())
        for command in rest:
            value = command(scope, (value,))
        return value

    return expression


def command(name: str, operands: Sequence[Expression]) -> Command:
    """Call the first operand with the others and with what came through the pipe; if it is no
    function or method, there must be none."""
    first, *rest = operands

    def run(scope: Scope, piped: tuple[Any, ...]) -> Any:
        value = first(scope)
        if callable(value):
            return call(name, value, (*[called(operand(scope)) for operand in rest], *piped))
        if rest or piped:
            raise wrong(f"{name} is no function: it takes no arguments")
        return value

    return run


def called(value: Any) -> Any:
    """A function or method that is itself an argument is called."""
    return call("a function", value, ()) if callable(value) else value


def call(name: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        return function(*arguments)
    except (TypeError, ValueError, IndexError, AttributeError):
        given = ", ".join(fmt.text(argument)[:40] for argument in arguments) or "no arguments"
        raise wrong(f"{name} cannot be called with {given}") from None


def logic(name: str, operands: Sequence[Expression]) -> Command:
    """``and`` and ``or`` stop at the first operand that decides, whose value is theirs."""

    def run(scope: Scope, piped: tuple[Any, ...]) -> Any:
        for operand in operands:
            value = called(operand(scope))
            if is_true(value) == (name == "or"):
                return value
        if not (operands or piped):
            raise wrong(f"{name} needs an argument")
        return piped[0] if piped else value

    return run


def part(value: Expression, name: str) -> Expression:
    return lambda scope: field(called(value(scope)), name)
