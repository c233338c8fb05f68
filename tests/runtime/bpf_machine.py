"""The kernel's BPF machine in Python, as far as seccomp uses it: what does a filter decide?"""

from struct import iter_unpack, pack

LOAD, AND, RETURN, JUMP = 0x20, 0x54, 0x06, 0x05
JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_EQUAL, JUMP_SET = 0x15, 0x25, 0x35, 0x45

Program = list[tuple[int, int, int, int]]


def disassemble(code: bytes, big_endian: bool = False) -> Program:
    return list(iter_unpack(">HBBI" if big_endian else "<HBBI", code))


def run(
    program: Program,
    audit: int,
    number: int,
    arguments: tuple[int, ...] = (),
    big_endian: bool = False,
) -> int:
    """The value that ``program`` returns for one system call; IndexError if it runs off its end."""
    order = ">" if big_endian else "<"
    padded = (*arguments, *(0,) * (6 - len(arguments)))
    data = pack(f"{order}IIQ6Q", number, audit, 0, *padded)
    words = [word for (word,) in iter_unpack(f"{order}I", data)]
    accumulator = counter = 0
    while True:
        code, on_true, on_false, operand = program[counter]
        counter += 1
        if code == RETURN:
            return operand
        if code == LOAD:
            accumulator = words[operand // 4]
        elif code == AND:
            accumulator &= operand
        elif code == JUMP:
            counter += operand
        elif code == JUMP_EQUAL:
            counter += on_true if accumulator == operand else on_false
        elif code == JUMP_GREATER:
            counter += on_true if accumulator > operand else on_false
        elif code == JUMP_GREATER_EQUAL:
            counter += on_true if accumulator >= operand else on_false
        elif code == JUMP_SET:
            counter += on_true if accumulator & operand else on_false
        else:
            raise AssertionError(f"no such instruction: {code:#x}")
