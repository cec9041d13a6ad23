"""Recipes: the paper's, and what a recipe of one's own may not say."""

import json

import pytest

from precompute.clips import TASKS, InputError
from precompute.conditions import CONDITIONS
from precompute.corpora.paper import CORPORA
from precompute.published import table1
from precompute.recipes import FOLDER, load_recipe, recipe_names


def paper() -> dict:
    return json.loads((FOLDER / "paper.json").read_text())


def written(tmp_path, **changes) -> str:
    """Write the paper's recipe with entries changed; None leaves one out."""
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({name: value for name, value in {**paper(), **changes}.items() if value is not None}))
    return str(path)


def test_the_papers_recipe_asks_for_its_models_corpora_conditions_and_realizations():
    recipe = load_recipe("paper")
    assert recipe.models == ("nvidia/audio-flamingo-3-hf", "nvidia/music-flamingo-2601-hf")
    assert set(recipe.corpora) == set(CORPORA) and len(recipe.corpora) == 8
    assert {"original", "silence", "noise", "resynthesis"} <= set(recipe.conditions) <= set(CONDITIONS)
    assert recipe.realizations == CONDITIONS["resynthesis"].realizations == 3
    assert {*recipe.prompts} == {*recipe.engines} == {*TASKS}
    assert recipe.prompts["speech"] == "Transcribe the input speech."


def test_the_papers_recipe_and_its_corpora_agree_on_sizes_between_2000_and_5000():
    recipe = load_recipe("paper")
    for name in recipe.corpora:
        assert recipe.per_class[name] == CORPORA[name].per_class
        assert 2000 <= 2 * recipe.per_class[name] <= 5000


def test_the_papers_recipe_lists_the_rows_of_its_table():
    titles = {row["dataset"].replace("-", "").casefold() for row in table1()}
    assert titles == set(load_recipe("paper").corpora)


def test_a_recipe_of_ones_own_is_read_by_its_path_and_named_by_it(tmp_path):
    recipe = load_recipe(written(tmp_path, name=None, corpora=["list.csv"], per_class=None, prompts=None))
    assert (recipe.name, recipe.corpora, recipe.per_class, recipe.prompts) == ("mine", ("list.csv",), {}, {})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"models": None}, "has no entry models"),
        ({"colour": "red"}, "no such entry: colour"),
        ({"models": "nvidia/one"}, "models should be a list of texts"),
        ({"models": [1]}, "models should be a list of texts"),
        ({"models": []}, "has no models"),
        ({"seed": "zero"}, "seed should be a whole number"),
        ({"seed": True}, "seed should be a whole number"),
        ({"per_class": {"clotho": "all"}}, "per_class should be an object of whole numbers"),
        ({"per_class": {"esc50": 100}}, "no corpus of per_class 'esc50'"),
        ({"per_class": {"clotho": 0}}, "has 0 for clotho"),
        ({"conditions": ["original", "backwards"]}, "no condition 'backwards'"),
        ({"conditions": ["silence"]}, "lacks the condition original"),
        ({"realizations": 0}, "has 0 for realizations"),
        ({"engines": {"speech": "parrot"}}, "no engine 'parrot'"),
        ({"engines": {"smell": "tangoflux"}}, "no task 'smell'"),
        ({"engines": {"sound": "flite"}}, "gives sound to the engine flite, which reads no caption"),
        ({"engines": {"speech": "tangoflux"}}, "which reads no transcript"),
        ({"dtype": "int4"}, "no dtype 'int4'"),
        ({"protocol": "three-pass"}, "no protocol 'three-pass'"),
    ],
)
def test_a_recipe_that_cannot_be_run_is_refused_with_the_entry_that_is_wrong(tmp_path, changes, said):
    with pytest.raises(InputError, match=said):
        load_recipe(written(tmp_path, **changes))


def test_a_recipe_that_is_not_there_or_not_json_is_refused(tmp_path):
    with pytest.raises(InputError, match="neither a file nor one of paper"):
        load_recipe("papper")
    for content in ("{", "[1]"):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(InputError, match="is not a"):
            load_recipe(str(tmp_path / "bad.json"))


def test_every_recipe_that_comes_with_the_project_can_be_read():
    assert "paper" in recipe_names()
    assert all(load_recipe(name).name == name for name in recipe_names())
