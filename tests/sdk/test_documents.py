"""What the documents say about the tests and the files of this repository is so."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
]
documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
SEMANTICS = ROOT / "docs" / "semantics.md"


def functions_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@documents
def test_every_test_that_is_named_exists(document: Path) -> None:
    named = re.findall(r"`(tests/[\w/.]+\.py)::(\w+)`", document.read_text("utf-8"))
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).exists() or name not in functions_in(ROOT / path)
    ]
    assert missing == []


@documents
def test_every_file_that_is_linked_exists(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text("utf-8"))
    files = [link for link in links if "://" not in link]
    assert [link for link in files if not (document.parent / link).exists()] == []


@pytest.mark.parametrize(
    "row",
    [line for line in SEMANTICS.read_text("utf-8").splitlines() if re.match(r"\| (?!rule |---)", line)],
    ids=lambda row: row.split("|")[1].strip(),
)
def test_every_rule_names_its_test(row: str) -> None:
    cells = row.strip("|").split(" | ")
    assert len(cells) == 3
    assert re.fullmatch(r"`tests/[\w/.]+\.py::test_\w+`", cells[2].strip())
