"""Where the first capture of a tree can lie in a subject, and whether there is no doubt; knows no files and no maps.

Sets of positions are integers: bit n stands for the gap before byte n. Each step costs a fixed budget, for one tree and
for all trees of one question, so that nobody can make it long.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, pairwise

import msgspec

from pgoauthd.mapping.aretree import Choice, Edge, Group, Node, OneByte, Repeat, Sequence, children, walk

MAX_SUBJECT_BYTES = 1_024
MAX_STEPS = 50_000
MAX_EFFORT = 100_000
"""Steps for one question, whatever number of lines it meets; a step takes about a microsecond."""
_BYTES_A_STEP = 8
"""Of the subject, where each of its bytes is looked at."""


class Doubt(Exception):  # noqa: N818 - no error: the answer is that there is none
    """Which part of the subject PostgreSQL captures cannot be told."""


class Capture(msgspec.Struct, frozen=True):
    """Where the first group matched; None where it took no part."""

    span: tuple[int, int] | None


class Effort:
    """What one question may still cost, and what it has found already: several ask the same line about it."""

    __slots__ = ("found", "left")

    def __init__(self) -> None:
        self.left = MAX_EFFORT
        self.found: dict[int, Capture | None] = {}
        """By the id of the captures; None is a doubt."""

    def for_another(self) -> Effort:
        """For another subject of the same question: what is left, and nothing found."""
        other = Effort()
        other.left = self.left
        return other


class Captures:
    """The first group of a tree: how to find it in a subject that the tree matches."""

    def __init__(self, tree: Node) -> None:
        self._tree = tree
        self._greedy = all(node.greedy for node in walk(tree) if isinstance(node, Repeat))
        self._path = _path_to_first_group(tree)
        self._split = _split(tree, self._path)
        self._margins = _margins(self._split)

    def find(self, subject: bytes, effort: Effort) -> Capture:
        """The first group's part of the leftmost match; Doubt where more than one may be PostgreSQL's.

        One effort is for one subject.
        """
        if id(self) not in effort.found:
            effort.found[id(self)] = self._find_if_sure(subject, effort)
        found = effort.found[id(self)]
        if found is None:
            raise Doubt
        return found

    def _find_if_sure(self, subject: bytes, effort: Effort) -> Capture | None:
        try:
            return self._find(subject, effort)
        except Doubt:
            return None

    def _find(self, subject: bytes, effort: Effort) -> Capture:
        if not self._path:
            return Capture(None)
        if self._margins is not None:
            before, rest = self._margins
            return Capture((before, len(subject) - rest))
        if len(subject) > MAX_SUBJECT_BYTES:
            raise Doubt
        steps = _Steps(subject, effort)
        start = _lowest(steps.before(self._tree, steps.everywhere))
        ends = steps.after(self._tree, 1 << start)
        if not self._greedy:
            return self._only_one(steps, 1 << start, ends)
        # without lazy quantifiers the leftmost match is the longest (documentation 9.7.3.5)
        end = 1 << _highest(ends)
        if (split := self._split) is not None:
            return _longest_first(steps, split, 1 << start, end)
        return self._only_one(steps, 1 << start, end)

    def _only_one(self, steps: _Steps, start: int, ends: int) -> Capture:
        """The span that every way to match has in common."""
        if _forgets(self._path):
            raise Doubt
        group = self._path[-1]
        spans = _possible(steps, self._path, start, ends)
        if not spans:
            return Capture(None)
        may_be_left_out = steps.leaving_out(group).after(self._tree, start) & ends
        if len(spans) > 1 or may_be_left_out:
            raise Doubt
        return Capture(spans.pop())


def _path_to_first_group(node: Node) -> tuple[Node, ...]:
    """From the tree's root down to group 1; empty where there is none."""
    if isinstance(node, Group) and node.number == 1:
        return (node,)
    for child in children(node):
        if path := _path_to_first_group(child):
            return (node, *path)
    return ()


def _split(tree: Node, path: tuple[Node, ...]) -> tuple[Sequence, Group, Sequence] | None:
    """What comes before the group, it and the rest, where it stands in the outermost sequence."""
    parts = tree.parts if isinstance(tree, Sequence) else (tree,)
    group = path[-1] if path else None
    at = next((i for i, part in enumerate(parts) if part is group), None)
    if at is None or not isinstance(group, Group):
        return None
    return Sequence(parts[:at]), group, Sequence(parts[at + 1 :])


def _margins(split: tuple[Sequence, Group, Sequence] | None) -> tuple[int, int] | None:
    """How many bytes always lie before and behind the group, where the whole subject has to match."""
    if split is None or split[0].parts[:1] != (Edge(at_start=True),) or split[2].parts[-1:] != (Edge(at_start=False),):
        return None
    before, rest = _width(split[0]), _width(split[2])
    return None if before is None or rest is None else (before, rest)


def _width(node: Node) -> int | None:
    """How many bytes it matches, where that is always the same."""
    match node:
        case OneByte():
            return 1
        case Edge():
            return 0
        case Sequence(parts):
            widths = [_width(part) for part in parts]
            return None if None in widths else sum(width or 0 for width in widths)
        case _:
            return None


def _forgets(path: tuple[Node, ...]) -> bool:
    """Whether a later round of a repetition may pass the group by: engines differ on what it has captured then."""
    repeated = False
    for node in path:
        if repeated and (isinstance(node, Choice) or (isinstance(node, Repeat) and node.low == 0)):
            return True
        repeated |= isinstance(node, Repeat) and (node.high is None or node.high > 1)
    return False


def _longest_first(steps: _Steps, split: tuple[Sequence, Group, Sequence], start: int, end: int) -> Capture:
    """Of a sequence of greedy parts, earlier ones take as much as they can (documentation 9.7.3.5)."""
    before, group, rest = split
    begins, ends = steps.after(before, start), steps.before(rest, end)
    while begins:
        begin = _highest(begins)
        if found := steps.after(group.part, 1 << begin) & ends:
            return Capture((begin, _highest(found)))
        begins ^= 1 << begin
    raise Doubt


def _possible(steps: _Steps, path: tuple[Node, ...], begins: int, ends: int) -> set[tuple[int, int]]:
    """Every span that the last node of the path has in some way to match, or two of them; perhaps ones too many."""
    for node, below in pairwise(path):
        if isinstance(node, Sequence):
            at = next(i for i, part in enumerate(node.parts) if part is below)
            begins = steps.after(Sequence(node.parts[:at]), begins)
            ends = steps.before(Sequence(node.parts[at + 1 :]), ends)
        elif isinstance(node, Repeat):
            others = Repeat(node.part, 0, None if node.high is None else node.high - 1, node.greedy)
            if node.high == 0:
                return set()
            begins, ends = steps.after(others, begins), steps.before(others, ends)
    (part,) = children(path[-1])
    spans = ((at, end) for at in _positions(begins) for end in _positions(steps.after(part, 1 << at) & ends))
    return set(islice(spans, 2))


class _Steps:
    """Moves sets of positions through nodes, forwards and backwards."""

    def __init__(self, subject: bytes, effort: Effort) -> None:
        self._subject = subject
        self._effort = effort
        self._left_out: Node | None = None
        self._left = MAX_STEPS
        self._where: dict[int, int] = {}
        self.everywhere = (1 << len(subject) + 1) - 1

    def leaving_out(self, node: Node) -> _Steps:
        """The same subject, where this node matches nothing."""
        other = _Steps(self._subject, self._effort)
        other._left_out = node
        return other

    def after(self, node: Node, at: int) -> int:
        """Where a match of the node can end that begins at one of these positions."""
        self._pay()
        match node:
            case OneByte(among):
                return (at & self._of(among)) << 1
            case Sequence(parts):
                return _through(self.after, parts, at)
            case _:
                return self._either_way(self.after, node, at)

    def before(self, node: Node, at: int) -> int:
        """Where a match of the node can begin that ends at one of these positions."""
        self._pay()
        match node:
            case OneByte(among):
                return at >> 1 & self._of(among)
            case Sequence(parts):
                return _through(self.before, parts[::-1], at)
            case _:
                return self._either_way(self.before, node, at)

    def _either_way(self, go: Callable[[Node, int], int], node: Node, at: int) -> int:
        match node:
            case Edge(at_start):
                return at & (1 if at_start else 1 << len(self._subject))
            case Choice(branches):
                found = 0
                for branch in branches:
                    found |= go(branch, at)
                return found
            case Repeat(part, low, high):
                return _rounds(lambda positions: go(part, positions), at, low, high)
            case Group(part):
                return 0 if node is self._left_out else go(part, at)
            case _:
                raise AssertionError(node)

    def _of(self, among: int) -> int:
        """The positions of the bytes in a set."""
        found = self._where.get(among)
        if found is None:
            self._pay(1 + len(self._subject) // _BYTES_A_STEP)
            found = sum(1 << at for at, byte in enumerate(self._subject) if among >> byte & 1)
            self._where[among] = found
        return found

    def _pay(self, steps: int = 1) -> None:
        self._left -= steps
        self._effort.left -= steps
        if self._left < 0 or self._effort.left < 0:
            raise Doubt


def _through(go: Callable[[Node, int], int], parts: tuple[Node, ...], at: int) -> int:
    for part in parts:
        if not at:
            break
        at = go(part, at)
    return at


def _rounds(go: Callable[[int], int], at: int, low: int, high: int | None) -> int:
    for _ in range(low):
        at = go(at)
    found, new, rounds = at, at, low
    while new and (high is None or rounds < high):
        new = go(new) & ~found
        found |= new
        rounds += 1
    return found


def _positions(among: int) -> list[int]:
    return [at for at in range(among.bit_length()) if among >> at & 1]


def _lowest(among: int) -> int:
    if not among:
        raise Doubt
    return (among & -among).bit_length() - 1


def _highest(among: int) -> int:
    if not among:
        raise Doubt
    return among.bit_length() - 1
