"""Draws the rooms of the code into docs/architecture.md: each on a floor above everything that it imports.

Run ``python tools/draw_architecture.py`` after adding a room or changing its imports; a test compares the page with the
code.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "lorag"
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- drawn by tools/draw_architecture.py -->\n", "<!-- end of the drawing -->"
FOUNDATION = "foundation"
"""The modules beside the rooms that import no room, drawn as one."""


def imports_of_ours(path: Path) -> set[str]:
    """The modules of ours that a file imports, wherever in it, by their names below ``lorag``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("lorag")}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lorag"):
            if node.module == "lorag":
                found |= {f"lorag.{alias.name}" for alias in node.names}
            else:
                found.add(node.module)
    return {name.removeprefix("lorag.") for name in found}


def room_of(path: Path) -> str:
    """The room that a file of the code is in."""
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imports() -> dict[str, set[str]]:
    """The rooms of the code, each with those that its modules import."""
    found: dict[str, set[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        room = room_of(path)
        if not room.startswith("__"):
            found.setdefault(room, set()).update(name.split(".")[0] for name in imports_of_ours(path))
    return {room: names - {room} for room, names in found.items()}


def floors(found: dict[str, set[str]]) -> list[list[str]]:
    """The rooms from the top floor down: each above all that it imports, as low as that allows."""
    heights: dict[str, int] = {}

    def height(room: str) -> int:
        if room not in heights:
            heights[room] = 1 + max((height(below) for below in found[room]), default=-1)
        return heights[room]

    top = max(map(height, found))
    return [sorted(room for room in found if heights[room] == floor) for floor in range(top, -1, -1)]


def drawing() -> str:
    """The floors as a table, with what each room imports; what everything rests on is one room."""
    found = imports()
    ground = {room for room in found if (SOURCE / f"{room}.py").is_file() and not _rooms_below(room, found)}
    drawn = {room: (names - ground) | {FOUNDATION} for room, names in found.items() if room not in ground}
    lines = ["| floor | room | modules | imports |", "| ---: | --- | ---: | --- |"]
    stack = floors(drawn | {FOUNDATION: set()})
    for number, rooms in zip(range(len(stack) - 1, -1, -1), stack, strict=True):
        for room in rooms:
            inside = sorted(ground) if room == FOUNDATION else [room]
            count = sum(len(list(SOURCE.glob(f"{name}.py")) + list(SOURCE.glob(f"{name}/**/*.py"))) for name in inside)
            below = ", ".join(sorted(drawn.get(room, set()) - {FOUNDATION})) or "–"
            name = ", ".join(f"`{each}`" for each in inside)
            lines.append(f"| {number} | {name} | {count} | {below} |")
    return "\n".join(lines) + "\n"


def _rooms_below(room: str, found: dict[str, set[str]]) -> set[str]:
    """The folders that a module imports, itself or through other modules."""
    seen, waiting = set[str](), [room]
    while waiting:
        for name in found[waiting.pop()] - seen:
            seen.add(name)
            waiting.append(name)
    return {name for name in seen if (SOURCE / name).is_dir()}


def page() -> str:
    """The page with the drawing of the code as it is."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{drawing()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page())
