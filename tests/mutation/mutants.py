"""The mutants of a module: mutmut makes them and the trampolines that choose one; we choose what is worth changing."""

import ast
import difflib
import importlib.util
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

import libcst as cst
from libcst.metadata import MetadataWrapper
from mutmut.mutation.file_mutation import MutationVisitor, combine_mutations_to_source
from mutmut.mutation.mutators import mutation_operators, operator_string
from mutmut.mutation.pragma_handling import IgnoredCode
from mutmut.utils.format_utils import mangled_name_from_mutant_name, orig_function_and_class_names_from_key

ROOT = Path(__file__).parents[2]
_RENAMED = re.compile(r"(?<=def )x[_ǁ]\S*__mutmut_\w+")


@dataclass(frozen=True)
class Mutant:
    """One small change of one function. `was` and `now`: the lines that differ."""

    name: str
    module: str
    function: str
    line: int
    was: str
    now: str

    @property
    def of(self) -> str:
        """The key of its function in mutmut's record of what a test calls."""
        return mangled_name_from_mutant_name(f"{self.module}.{self.name}")


@dataclass(frozen=True)
class Mutated:
    """A module with all of its mutants in it."""

    module: str
    path: Path
    code: str
    mutants: tuple[Mutant, ...]


def _word(node: cst.BaseString) -> Iterable[cst.BaseString]:
    """Words for machines are changed once; sentences for people are not, or the tests would be a copy of them."""
    if not isinstance(node, cst.SimpleString) or " " in node.raw_value:
        return
    yield from list(operator_string(node))[:1]


OPERATORS = [(kind, _word if change is operator_string else change) for kind, change in mutation_operators]


def mutate(module: str) -> Mutated:
    path = ROOT / f"{module.replace('.', '/')}.py"
    if not path.exists():
        path = path.with_suffix("") / "__init__.py"
    source = path.read_text()
    visitor = MutationVisitor(OPERATORS, IgnoredCode(set(), set(), set()))
    tree = MetadataWrapper(cst.parse_module(source)).visit(visitor)
    made = combine_mutations_to_source(tree, visitor.mutations)
    lines, spans = made.code.splitlines(), made.line_span_by_function_name
    text = {name: lines[span.start - 1 : span.end] for name, span in spans.items()}
    starts = _starts(source)
    mutants = []
    for name in made.mutant_names:
        function, group = orig_function_and_class_names_from_key(f"{module}.{name}")
        function = f"{group}.{function}" if group else function
        original = text[f"{mangled_name_from_mutant_name(name)}__mutmut_orig"]
        offset, was, now = _difference(original, text[name])
        mutants.append(Mutant(name, module, function, starts[function] + offset, was, now))
    return Mutated(module, path, made.code, tuple(mutants))


def _starts(source: str) -> dict[str, int]:
    """The line on which each function and method begins."""
    found: dict[str, int] = {}
    for top in ast.parse(source).body:
        inner = top.body if isinstance(top, ast.ClassDef) else []
        group = f"{top.name}." if isinstance(top, ast.ClassDef) else ""
        for one in [top, *inner]:
            if isinstance(one, ast.FunctionDef):
                first = min([one.lineno, *(decorator.lineno for decorator in one.decorator_list)])
                found[one.name if one is top else f"{group}{one.name}"] = first
    return found


def _difference(original: Sequence[str], mutated: Sequence[str]) -> tuple[int, str, str]:
    """Where the two begin to differ, and the lines that do. The first ones differ by the function's name."""
    old, new = _trimmed(original), _trimmed(mutated)
    offset, was, now = 0, [], []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            offset = offset or a
            was += old[a:b]
            now += new[c:d]
    return offset, "\n".join(line.strip() for line in was), "\n".join(line.strip() for line in now)


def _trimmed(lines: Sequence[str]) -> list[str]:
    """Without blank lines before it, and with one name for all mutants of it."""
    begin = next(index for index, line in enumerate(lines) if line.strip())
    return [_RENAMED.sub("", line) for line in lines[begin:]]


class _Loader(SourceFileLoader):
    def __init__(self, mutated: Mutated) -> None:
        super().__init__(mutated.module, str(mutated.path))
        self.code = mutated.code

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.code, self.path, "exec", dont_inherit=True)


class Finder(MetaPathFinder):
    """Imports the mutated module in place of its file, which nobody touches."""

    def __init__(self, mutated: Mutated) -> None:
        self.mutated = mutated

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.mutated.module:
            return None
        within = [str(self.mutated.path.parent)] if self.mutated.path.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(
            fullname, self.mutated.path, loader=_Loader(self.mutated), submodule_search_locations=within
        )
