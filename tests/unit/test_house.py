"""The house rules: who may import whom, and what may not be in the tree."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TREES = ("lmcodistill", "data_prep", "tools")
MODULES = sorted(p for t in TREES for p in (ROOT / t).rglob("*.py"))
PACKAGES = sorted(p for t in TREES[:2] for p in (ROOT / t).rglob("*.py"))
# From the ground up. A room may import itself and the rooms before it.
ROOMS = (
    "errors",
    "tf_environment",
    "settings",
    "report",
    "storage",
    "config",
    "data",
    "model",
    "exports",
    "codistill",
    "inference",
    "supervision",
    "launchers",
    "training",
    "planning",
    "experiments",
    "quickstart",
    "commands",
    "cli",
    "__main__",
)
# lmcodistill itself holds the version, which all rooms may read.
FLOORS = {"": 0} | {room: floor for floor, room in enumerate(ROOMS, 1)}
# The same for data_prep, whose ground floor is the modules beside its packages.
FLOORS_OF_DATA_PREP = {
    "": 0,
    "downloading": 1,
    "engines": 1,
    "reading": 1,
    "duplicates": 2,
    "rules": 2,
    "reports": 3,
    "tokens": 3,
    "run": 4,
}
ROOMS_OF_DATA_PREP = {"errors", "settings", "report", "storage", "data", ""}


def relative(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


def name_of(path: pathlib.Path) -> str:
    """Returns the dotted name of a module."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(
        ".__init__"
    )


def imports_of(path: pathlib.Path) -> set[str]:
    """Returns the dotted names that a module imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room_of(dotted: str) -> str:
    """Returns the part after `lmcodistill`, empty for the package itself."""
    room = (*dotted.split("."), "")[1]
    return room if room in FLOORS else ""


def circles_in(uses: dict[str, set[str]]) -> dict[str, set[str]]:
    """Returns what is left of a graph without its ends: empty if it has no circle."""
    # Whoever uses nothing that remains may leave; a circle never can.
    remaining = dict(uses)
    while free := [n for n, used in remaining.items() if not used & remaining.keys()]:
        for name in free:
            del remaining[name]
    return {n: used & remaining.keys() for n, used in remaining.items()}


def test_every_room_has_a_floor():
    # `room_of` would take an unlisted room for the package itself, on the ground.
    rooms = {p.stem for p in (ROOT / "lmcodistill").glob("*.py")} - {"__init__"}
    rooms |= {p.parent.name for p in (ROOT / "lmcodistill").glob("*/__init__.py")}

    assert rooms == FLOORS.keys() - {""}


# It also names the public interface, and imports it when a name is first asked for.
FACE = ROOT / "lmcodistill" / "__init__.py"


@pytest.mark.parametrize(
    "path",
    [p for p in PACKAGES if relative(p).startswith("lmcodistill") and p != FACE],
    ids=relative,
)
def test_module_imports_only_from_its_own_floor_or_below(path):
    own = room_of(name_of(path))

    for dotted in imports_of(path):
        if dotted.split(".")[0] == "lmcodistill":
            other = room_of(dotted)
            assert other == own or FLOORS[other] < FLOORS[own] or other == "", dotted


@pytest.mark.parametrize(
    "path", [p for p in PACKAGES if relative(p).startswith("data_prep")], ids=relative
)
def test_data_prep_uses_only_the_lower_rooms(path):
    used = {room_of(d) for d in imports_of(path) if d.split(".")[0] == "lmcodistill"}

    assert used <= ROOMS_OF_DATA_PREP


def room_of_data_prep(dotted: str) -> str:
    """Returns the package after `data_prep`, empty for a module beside them."""
    room = (*dotted.split("."), "")[1]
    return room if (ROOT / "data_prep" / room).is_dir() else ""


@pytest.mark.parametrize(
    "path", [p for p in PACKAGES if relative(p).startswith("data_prep")], ids=relative
)
def test_data_prep_imports_only_from_its_own_room_or_lower_floors(path):
    own = room_of_data_prep(name_of(path))

    for dotted in imports_of(path):
        if dotted.split(".")[0] == "data_prep":
            other = room_of_data_prep(dotted)
            assert (
                other == own or FLOORS_OF_DATA_PREP[other] < FLOORS_OF_DATA_PREP[own]
            ), dotted


def test_rooms_of_data_prep_do_not_import_in_circles():
    uses: dict[str, set[str]] = {}
    for path in PACKAGES:
        if relative(path).startswith("data_prep"):
            own = room_of_data_prep(name_of(path))
            used = {d for d in imports_of(path) if d.split(".")[0] == "data_prep"}
            uses.setdefault(own, set()).update(map(room_of_data_prep, used))

    assert circles_in({own: used - {own} for own, used in uses.items()}) == {}


@pytest.mark.parametrize("tree", TREES[:2])
def test_no_two_classes_of_a_tree_have_one_name(tree):
    places: dict[str, list[str]] = {}
    for path in (ROOT / tree).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name.strip("_"), []).append(relative(path))

    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_only_the_prep_command_uses_data_prep():
    users = {
        relative(path)
        for path in PACKAGES
        if relative(path).startswith("lmcodistill")
        and any(d.split(".")[0] == "data_prep" for d in imports_of(path))
    }

    assert users <= {f"lmcodistill/commands/{x}.py" for x in ("prep", "split")}


def test_only_config_uses_gin():
    users = {
        relative(path)
        for path in MODULES
        if any(d.split(".")[0] == "gin" for d in imports_of(path))
    }

    assert {pathlib.PurePath(u).parts[:2] for u in users} == {("lmcodistill", "config")}


def test_modules_do_not_import_in_circles():
    by_name = {name_of(path): path for path in PACKAGES}
    # `from package import module` uses the module; `from module import name` too.
    uses = {
        name: {
            dotted if dotted in by_name else dotted.rpartition(".")[0]
            for dotted in imports_of(path)
        }
        & by_name.keys()
        for name, path in by_name.items()
    }

    assert circles_in(uses) == {}


def test_no_file_is_longer_than_400_lines():
    long = {relative(p): len(p.read_text().splitlines()) for p in MODULES}

    assert {name: lines for name, lines in long.items() if lines > 400} == {}


def test_no_module_is_named_for_nothing():
    names = {"utils", "util", "helpers", "helper", "common", "misc"}

    assert [relative(p) for p in MODULES if p.stem in names] == []


def test_gin_folder_is_never_a_python_package():
    # An __init__.py here would shadow the gin-config library for every command
    # run from the repository root.
    assert not list((ROOT / "gin").rglob("*.py"))


def test_nothing_loads_what_could_run_code():
    unsafe = re.compile(
        r"^\s*(import|from) (pickle|cPickle|dill|shelve|marshal)\b"
        r"|\.load\(.*allow_pickle=True|yaml\.(load|unsafe_load)\(",
        re.MULTILINE,
    )

    assert [relative(p) for p in MODULES if unsafe.search(p.read_text())] == []


def test_nothing_changes_where_modules_are_found():
    changes = re.compile(r"sys\.path\.(insert|append|extend)|spec_(from_file)_location")
    programs = [*MODULES, *(ROOT / "tests").rglob("*.py")]

    assert [relative(p) for p in programs if changes.search(p.read_text())] == []
