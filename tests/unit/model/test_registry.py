"""Which model families there are, and what is refused of other packages."""

import dataclasses
import importlib.metadata
import itertools

import pytest

from lmcodistill import errors
from lmcodistill.model import contract, initialisers, registry, weights
from lmcodistill.settings import model as settings
from tests.support.gru import family as gru


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a package with a family; the registry is as before afterwards."""

    def install(name, value):
        package = tmp_path / "some_package-1.0.dist-info"
        package.mkdir()
        (package / "METADATA").write_text("Name: some-package\nVersion: 1.0\n")
        (package / "entry_points.txt").write_text(
            f"[lmcodistill.families]\n{name} = {value}\n"
        )
        (distribution,) = importlib.metadata.distributions(path=[str(tmp_path)])
        monkeypatch.setattr(
            importlib.metadata,
            "entry_points",
            lambda group: distribution.entry_points.select(group=group),
        )
        registry.families.cache_clear()

    yield install
    monkeypatch.undo()
    registry.families.cache_clear()


def test_settings_know_the_configurations_of_the_families_that_come_with_it():
    families = registry.BUILT_IN.items()

    assert {name: family.config for name, family in families} == settings.BUILT_IN


def test_installed_family_stands_beside_those_that_come_with_it(install):
    install("gru", "tests.support.gru.family:FAMILY")

    assert registry.configs() == {**settings.BUILT_IN, "gru": gru.Gru}
    assert registry.family_of(gru.Gru()) is gru.FAMILY


def test_only_other_families_are_named_in_descriptions(install):
    install("gru", "tests.support.gru.family:FAMILY")
    lstm, other = settings.LanguageModel(hidden_size=8), gru.Gru(width=8)

    assert registry.to_json(lstm) == {"model": dataclasses.asdict(lstm)}
    assert registry.to_json(other) == {
        "model": dataclasses.asdict(other),
        "model_family": "gru",
    }
    for config in (lstm, other):
        assert registry.from_json(registry.to_json(config)) == config


def test_description_of_a_family_that_is_not_installed_is_refused():
    with pytest.raises(errors.SnapshotError, match="'gru'.*not installed here"):
        registry.from_json({"model": {}, "model_family": "gru"})


@dataclasses.dataclass(frozen=True)
class Nested(settings.ModelConfig):
    sizes: tuple[int, ...] = ()


NESTED = dataclasses.replace(gru.FAMILY, config=Nested)
SAME_NAME = dataclasses.replace(
    gru.FAMILY, config=type("LanguageModel", (settings.ModelConfig,), {})
)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("other", "no_such_module:FAMILY", "No module named 'no_such_module'"),
        ("other", "tests.support.gru.family:NONE", "has no attribute 'NONE'"),
        ("other", "tests.support.gru.family:Gru", "is no .*contract.Family"),
        ("lstm", "tests.support.gru.family:FAMILY", "another family 'lstm'"),
        ("other", f"{__name__}:NESTED", "Nested.sizes is of type tuple"),
        ("other", f"{__name__}:SAME_NAME", "there is another LanguageModel"),
    ],
)
def test_family_that_cannot_be_used_names_its_package(install, name, value, problem):
    install(name, value)

    refusal = f"family '{name}' of the package some-package cannot be used: .*{problem}"
    with pytest.raises(errors.UsageError, match=refusal):
        registry.families()


def test_endless_specifications_are_refused_and_not_gathered(install, monkeypatch):
    endless = (
        contract.WeightSpec(f"w{k}", (1,), initialisers.zeros)
        for k in itertools.count()
    )
    family = dataclasses.replace(gru.FAMILY, weight_specs=lambda *_: endless)
    monkeypatch.setattr(registry, "families", lambda: {"gru": family})

    with pytest.raises(errors.UsageError, match="more than 4,096 weight tensors"):
        weights.specs(gru.Gru(), 7)


def test_summed_axis_of_every_quantized_weight_is_one_of_its_axes():
    for config in (
        settings.LanguageModel(),
        settings.LanguageModel(layer_norm=False),
        settings.Transformer(),
        settings.Transformer(tie_embeddings=False),
    ):
        for spec in weights.specs(config, 7).values():
            is_matrix = len(spec.shape) == 2
            assert spec.summed_axis in ((0, 1) if is_matrix else (None,))
