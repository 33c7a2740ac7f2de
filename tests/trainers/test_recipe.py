"""Recipes: what is read, what is merged, and which mistakes are named in which words."""

import pytest

from rewards.errors import UserError
from trainers.recipe import SHIPPED, find, load

PLAIN = """
name = "mine"
base = "phantom-tiny"
source = "phantom"

[data.d]
split = "train"

[variants.alpha]
stage = "sft"
data = "d"
"""
BETA = '[variants.beta]\nstage = "grpo"\nparent = "alpha"\ndata = "d"\n'


@pytest.fixture
def write(tmp_path):
    """`write(text)` -> the path of a recipe with that text."""
    def made(text, name="r.toml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)
    return made


@pytest.fixture
def refused(write):
    """`refused(text, *settings)` -> the message, without the recipe's path."""
    def message(text, *settings):
        path = write(text)
        with pytest.raises(UserError) as caught:
            load(path, settings)
        return str(caught.value).replace(f"recipe {path}", "recipe R")
    return message


def test_a_plain_recipe_and_its_defaults(write):
    recipe = load(write(PLAIN))
    assert (recipe.name, recipe.seeds, recipe.base) == ("mine", (1,), "phantom-tiny")
    alpha = recipe.variants["alpha"]
    assert (alpha.parent, alpha.data, alpha.data_name, alpha.reward) == ("base", ("d",), "d", None)
    assert recipe.data["d"].target == "reasoning" and recipe.source_of(recipe.data["d"]) == "phantom"
    assert load(write(PLAIN.replace('data = "d"', 'data = ["d", "d"]'))).variants["alpha"].data_name == "d+d"


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_sound(path):
    recipe = load(path.stem, overrides={"source": "phantom"})
    assert recipe.name == path.stem and recipe.variants


# --- unknown keys and bad values -----------------------------------------------------------------------------------

@pytest.mark.parametrize(("more", "key", "hint"), [
    ('sorce = "x"\n', "sorce", "source"),
    ("[model]\nfreze = []\n", "model.freze", "freeze"),
    ('[data.e]\nsplit = "rl"\nlimits = 3\n', "data.e.limits", "limit"),
    ('[variants.b]\nstage = "sft"\ndata = "d"\nparents = "alpha"\n', "variants.b.parents", "parent"),
    ("[score.main]\ncontrol = []\n", "score.main.control", "controls"),
    ("[guard]\nmax_mising = 0.5\n", "guard.max_mising", "max_missing"),
])
def test_an_unknown_key_is_named_with_the_closest(more, key, hint, refused):
    text = more + PLAIN if more.startswith("sorce") else PLAIN + more
    said = refused(text)
    assert said.startswith(f"recipe R: unknown key {key!r} (did you mean {hint!r}?); known here: ")
    listed = said.partition("known here: ")[2].split(", ")
    assert hint in listed and listed == sorted(listed)


def test_a_table_that_nothing_reads_is_unknown(refused):
    assert refused(PLAIN + "[modle]\nfreeze = []\n").startswith(
        "recipe R: unknown key 'modle' (did you mean 'model'?); known here: base, data, ")


@pytest.mark.parametrize(("old", "new", "said"), [
    ('split = "train"\n', "", "recipe R: data.d.split is missing"),
    ('stage = "sft"\n', "", "recipe R: variants.alpha.stage is missing"),
    ('name = "mine"\n', "", "recipe R: name is missing"),
    ('"sft"', '"dpo"', "recipe R: variants.alpha.stage: Input should be 'sft' or 'grpo', got 'dpo'"),
    ('split = "train"', 'split = "train"\nlimit = 0',
     "recipe R: data.d.limit: Input should be greater than or equal to 1, got 0"),
    ('split = "train"', 'split = "train"\ntarget = "essay"', "recipe R: data.d.target: Input should be 'reasoning', "),
    ('name = "mine"', 'name = "../x"', "recipe R: name: String should match pattern"),
    ('name = "mine"', 'name = "mine"\nseeds = ["x"]', "recipe R: seeds.0: Input should be a valid integer"),
])
def test_a_bad_value_is_named_with_its_place(old, new, said, refused):
    assert old in PLAIN
    assert refused(PLAIN.replace(old, new)).startswith(said)


def test_no_toml(refused):
    assert refused("name = \n").startswith("recipe R does not read as TOML: Invalid value")


def test_no_file_suggests_a_shipped_name(tmp_path):
    with pytest.raises(UserError, match=r"^no recipe 'phantm' \(did you mean 'phantom'\?\); expected a TOML file, or "):
        load("phantm")
    with pytest.raises(UserError, match=r"^no recipe"):
        load(str(tmp_path))  # a folder is no recipe


# --- extends ----------------------------------------------------------------------------------------------------------

def test_tables_are_merged_and_lists_replaced(write):
    write(PLAIN + '[sft]\nlearning_rate = 1e-3\nbatch_size = 8\n[model]\nfreeze = ["a", "b"]\n', "low.toml")
    high = write('extends = "low.toml"\nname = "high"\n[sft]\nbatch_size = 4\n[model]\nfreeze = ["c"]\n'
                 '[data.e]\nsplit = "rl"\n')
    recipe = load(high)
    assert (recipe.name, recipe.base) == ("high", "phantom-tiny")
    assert recipe.sft == {"learning_rate": 1e-3, "batch_size": 4}
    assert recipe.model.freeze == ("c",)
    assert set(recipe.data) == {"d", "e"} and set(recipe.variants) == {"alpha"}


def test_a_shipped_name_is_extended_and_stays_as_it_is(write):
    before = load("phantom").digest
    recipe = load(write('extends = "phantom"\nname = "mine"\n'), ["grpo.num_generations=2"])
    assert recipe.name == "mine" and recipe.grpo["num_generations"] == 2
    assert recipe.variants == load("phantom").variants and load("phantom").digest == before


def test_two_levels_are_refused(write):
    write(PLAIN, "one.toml")
    write('extends = "one.toml"\n', "two.toml")
    with pytest.raises(UserError, match=r"^r\.toml extends two\.toml, which extends another recipe itself; one level"):
        load(write('extends = "two.toml"\n'))
    with pytest.raises(UserError, match=r"^r\.toml extends r\.toml, which extends"):
        load(write('extends = "r.toml"\n'))


def test_what_is_extended_must_be_there(refused):
    assert refused('extends = "gone.toml"\n').startswith("no recipe 'gone.toml'")


def test_a_path_beside_the_recipe_is_found(write, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    write(PLAIN, "low.toml")
    assert find("low.toml", beside=tmp_path / "r.toml") == tmp_path / "low.toml"
    with pytest.raises(UserError, match=r"^no recipe 'low\.toml'"):
        find("low.toml")


# --- --set ------------------------------------------------------------------------------------------------------------

def test_set_reads_toml_and_else_plain_text(write):
    recipe = load(write(PLAIN), ["sft.learning_rate=1e-4", "sft.batch_size=8", "sft.bf16=true", "base=my/model",
                                 'variants.alpha.set={max_steps = 5}', "seeds=[3, 4]", "data.d.split=rl",
                                 'data.d.tasks=["ct", "oct"]', "sft.run_name=a=b"])
    assert recipe.sft == {"learning_rate": 1e-4, "batch_size": 8, "bf16": True, "run_name": "a=b"}
    assert recipe.base == "my/model" and recipe.seeds == (3, 4)
    assert recipe.variants["alpha"].set == {"max_steps": 5}
    assert (recipe.data["d"].split, recipe.data["d"].tasks) == ("rl", ("ct", "oct"))


def test_the_last_setting_wins_and_overrides_come_after(write):
    path = write(PLAIN)
    assert load(path, ["sft.batch_size=8", "sft.batch_size=2"]).sft == {"batch_size": 2}
    assert load(path, ["base=a"], {"base": "b"}).base == "b"


@pytest.mark.parametrize("text", ["grpo.num_generations", "=5", "grpo..x=5", ".x=5", "grpo.=5"])
def test_a_setting_that_is_none(text, refused):
    assert refused(PLAIN, text) == (
        f"--set {text!r}: expected KEY.KEY=VALUE, for example --set grpo.num_generations=8")


def test_a_setting_through_a_value(refused):
    assert refused(PLAIN, "name.x=1") == "--set 'name.x=1': 'name' is a value of this recipe, not a table"
    assert refused(PLAIN, "data.d.split.x=1") == (
        "--set 'data.d.split.x=1': 'split' is a value of this recipe, not a table")


def test_a_setting_is_checked_like_the_file(refused):
    assert refused(PLAIN, "model.freze=[]").startswith(
        "recipe R: unknown key 'model.freze' (did you mean 'freeze'?)")


# --- digest -----------------------------------------------------------------------------------------------------------

def test_the_digest_is_of_what_counts(write):
    plain = load(write(PLAIN)).digest
    reordered = ('source = "phantom"\nbase = "phantom-tiny"\nname = "mine"\nseeds = [1]\n'
                 '[variants.alpha]\ndata = ["d"]\nstage = "sft"\nparent = "base"\n'
                 '[data.d]\ntasks = ["path"]\nsplit = "train"\n[guard]\nwindow = 256\n[model]\ndtype = "float32"\n')
    assert load(write(reordered)).digest == plain
    for setting in ("seeds=[2]", "data.d.limit=5", "sft.learning_rate=1e-5", "variants.alpha.set={max_steps=1}",
                    "guard.window=255", "model.dtype=bfloat16"):
        assert load(write(PLAIN), [setting]).digest != plain, setting


def test_the_digest_is_the_same_in_every_version(write):
    """Folders of earlier runs carry it: it may change with the fields of a recipe, not by accident."""
    assert load(write(PLAIN)).digest == "89b3821724fa92597467951ad07e8af112ff49e38f16c46de87dd032da5a517b"


# --- what one table says of another -------------------------------------------------------------------------------

SCRATCH = "[model.scratch]\nhidden = 32\n"


@pytest.mark.parametrize(("text", "said"), [
    (PLAIN + SCRATCH, "recipe 'mine': give a base model, or the shape of a new one in [model.scratch], not both"),
    (PLAIN.replace('base = "phantom-tiny"\n', ""), "recipe 'mine': give a base model, or the shape of a new one"),
    (PLAIN.partition("[variants")[0] + "[variants]\n", "recipe 'mine' has no variants; expected at least one table"),
    (PLAIN.replace('stage = "sft"', 'stage = "sft"\nparent = "bse"'),
     "variant 'alpha' has the parent 'bse', which is no variant; expected 'base' or one of alpha"),
    (PLAIN.replace('stage = "sft"', 'stage = "sft"\nparent = "alpa"'),
     "variant 'alpha' has the parent 'alpa' (did you mean 'alpha'?), which is no variant; expected 'base' or one of "),
    (PLAIN.replace('data = "d"', 'data = ["d", "dd"]'),
     "variant 'alpha' is trained on 'dd' (did you mean 'd'?), which is no data set; there are d"),
    (PLAIN.replace('data = "d"', "data = []"), "variant 'alpha' is trained on nothing; name a data set"),
    (PLAIN + BETA, "variant 'beta': a reward belongs to every grpo stage, and to no other"),
    (PLAIN + 'reward = "outcome"\n', "variant 'alpha': a reward belongs to every grpo stage, and to no other"),
    (PLAIN + 'judge = "rules"\n', "variant 'alpha' names a judge and no reward"),
    (PLAIN.replace("variants.alpha", "variants.base"), "variant 'base': expected letters, digits, - and _, and "),
    (PLAIN.replace("variants.alpha", 'variants."a/b"'), "variant 'a/b': expected letters, digits, - and _"),
    (PLAIN.replace("variants.alpha", 'variants.".."'), "variant '..': expected letters, digits, - and _"),
    (PLAIN.replace('"train"', '"train"\nteacher = "falible"') + "[teachers.fallible]\n",
     "data set 'd' has the teacher 'falible' (did you mean 'fallible'?), which is no table of [teachers]; there are "
     "fallible"),
    (PLAIN.replace('"train"', '"train"\nteacher = "x"'), "data set 'd' has the teacher 'x', which is no table of "
     "[teachers]; there are none"),
    (PLAIN + '[score.main]\nreference = "alfa"\n',
     "score.main.reference 'alfa' is no variant (did you mean 'alpha'?)"),
    (PLAIN + '[score.main]\nreward = "dual"\n', "score.main.reward needs judges: without one nothing is scored"),
    ("seeds = []\n" + PLAIN, "seeds []: expected different whole numbers of 0 or more"),
    ("seeds = [1, 1]\n" + PLAIN, "seeds [1, 1]: expected different whole numbers of 0 or more"),
    ("seeds = [-1]\n" + PLAIN, "seeds [-1]: expected different whole numbers of 0 or more"),
])
def test_tables_must_agree(text, said, refused):
    assert refused(text).startswith(said)


def test_what_agrees_is_taken(write):
    text = PLAIN.replace('base = "phantom-tiny"\n', "").replace('"train"', '"train"\nteacher = "t"')
    text += SCRATCH + "[teachers.t]\n" + BETA + 'reward = "dual"\njudge = "rules"\n'
    text += '[score.main]\nreference = "base"\n[score.other]\nreference = "beta"\nreward = "dual"\njudges = ["rules"]\n'
    assert load(write("seeds = [0, 7]\n" + text)).variants["beta"].judge == "rules"


def test_a_source_is_needed_where_a_table_names_none(write):
    recipe = load(write(PLAIN.replace('source = "phantom"\n', "") + '[score.main]\nsource = "hub"\n'))
    assert recipe.source_of(recipe.score["main"]) == "hub"
    with pytest.raises(UserError, match=r"^recipe 'mine' names no data source; give --data SOURCE \(a folder of spli"):
        recipe.source_of(recipe.data["d"])
