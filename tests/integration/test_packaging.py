"""The wheel, installed outside the checkout, has everything it needs."""

import os
import pathlib
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest


def run(*command: str, cwd: pathlib.Path, **environment: str) -> str:
    """Returns what a command prints; a failure shows all it printed."""
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**clean, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def source(root, tmp_path_factory) -> pathlib.Path:
    """A copy of the checkout: building writes beside setup.py."""
    source = tmp_path_factory.mktemp("packaging") / "source"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE"):
        (source / name).write_bytes((root / name).read_bytes())
    for name in ("lmcodistill", "data_prep", "gin", "docs"):
        for path in (root / name).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                target = source / path.relative_to(root)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    return source


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> pathlib.Path:
    """A wheel built from the files of the checkout, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet"]
    run(*pip, "wheel", *options, "--wheel-dir", str(folder), str(source), cwd=folder)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> pathlib.Path:
    """A folder with the installed wheel and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-index", "--quiet", "--target", str(folder / "site")]
    run(*pip, "install", *options, str(wheel), cwd=folder)
    return folder / "site"


def test_wheel_holds_both_packages_and_every_gin_file(wheel, source):
    root = source
    names = set(zipfile.ZipFile(wheel).namelist())

    for package in ("lmcodistill", "data_prep"):
        for path in (root / package).rglob("*.py"):
            assert path.relative_to(root).as_posix() in names
    for path in (root / "gin").rglob("*.gin"):
        shipped = path.relative_to(root / "gin").as_posix()
        assert f"lmcodistill/configs/{shipped}" in names
    for path in (root / "lmcodistill" / "launchers").iterdir():
        assert f"lmcodistill/launchers/{path.name}" in names
    shared = {name.partition(".data/data/share/")[2] for name in names}
    assert shared >= {"man/man1/lmcodistill.1", "doc/lmcodistill/reference.md"}


def test_wheel_never_installs_over_gin_config(wheel):
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}

    assert {t for t in tops if not t.endswith((".dist-info", ".data"))} == {
        "lmcodistill",
        "data_prep",
    }


def test_installed_program_lists_and_shows_its_own_files(root, installed, tmp_path):
    program = [sys.executable, str(installed / "bin" / "lmcodistill")]
    environment = {"PYTHONPATH": str(installed)}

    listed = run(*program, "configs", "list", cwd=tmp_path, **environment)
    shown = run(
        *program, "configs", "show", "runs/quickstart", cwd=tmp_path, **environment
    )
    where = "import lmcodistill.config.shipped as s; print(s.root())"
    found = run(sys.executable, "-c", where, cwd=tmp_path, **environment)

    assert "runs/quickstart " in listed
    assert shown == (root / "gin" / "runs" / "quickstart.gin").read_text()
    assert found.strip() == str(installed / "lmcodistill" / "configs")


def test_installed_program_resolves_includes_among_its_own_files(installed, tmp_path):
    program = (
        "from lmcodistill.config import loading\n"
        "from lmcodistill.settings import classes\n"
        "c = loading.load(['runs/quickstart'], [], tuple(classes.TRAIN.values()), "
        "'defaults/train.gin')\n"
        "print(c.origins['LanguageModel.num_layers'].split(':')[0])"
    )

    found = run(sys.executable, "-c", program, cwd=tmp_path, PYTHONPATH=str(installed))

    assert found == "models/tiny.gin\n"


def test_installed_program_has_the_templates_of_clusters(installed, tmp_path):
    program = [sys.executable, str(installed / "bin" / "lmcodistill")]

    shown = run(
        *(*program, "launch", "docker", "--print"),
        cwd=tmp_path,
        PYTHONPATH=str(installed),
    )

    assert "FROM python:" in shown


def test_both_distributions_say_that_their_types_can_be_trusted(wheel, source):
    build = "from setuptools import build_meta; print(build_meta.build_sdist('dist'))"
    run(sys.executable, "-c", build, cwd=source)
    (sdist,) = (source / "dist").glob("*.tar.gz")

    with tarfile.open(sdist) as packed:
        in_sdist = {name.partition("/")[2] for name in packed.getnames()}

    assert "lmcodistill/py.typed" in zipfile.ZipFile(wheel).namelist()
    assert "lmcodistill/py.typed" in in_sdist


# What a user writes, and the types that mypy must find in it.
TYPED = """
import lmcodistill

students = lmcodistill.load("RUN", "s3://bucket/run")
reveal_type(students.score(["A text."]))
reveal_type(students.score(["A text."])[0].bits_per_byte)
reveal_type(students.generate("The", temperature=0.5))
reveal_type(students.evaluate("DATA", split="test").cross_entropy)
reveal_type(students.vocabulary.encode("A text."))
reveal_type(lmcodistill.read_metrics("RUN"))
lmcodistill.laod("RUN")
lmcodistill.load(3)
"""
REVEALED = [
    "list[lmcodistill.inference.scores.TextScore]",
    "float | None",
    "list[str]",
    "float",
    "list[int]",
    "list[dict[str, Any]]",
]


def test_type_checker_sees_the_types_of_the_installed_package(wheel, tmp_path):
    # In the site-packages of an environment, where py.typed is asked for.
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    (site,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-index", "--quiet", "--target", str(site)]
    run(*pip, "install", *options, str(wheel), cwd=tmp_path)
    (tmp_path / "program.py").write_text(TYPED)

    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python)]
        + ["program.py"],
        cwd=tmp_path,
        env={
            k: v for k, v in os.environ.items() if k not in ("MYPYPATH", "PYTHONPATH")
        },
        capture_output=True,
        text=True,
        timeout=300,
    )

    told = done.stdout.replace("builtins.", "").replace("typing.", "")
    assert [
        line.split('"')[1] for line in told.splitlines() if "Revealed type" in line
    ] == REVEALED
    problems = [line for line in told.splitlines() if ": error: " in line]
    assert len(problems) == 2, told
    assert 'has no attribute "laod"' in problems[0]
    assert 'incompatible type "int"' in problems[1]
