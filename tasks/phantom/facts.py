"""What is true of a phantom image: one frozen dataclass of facts a modality, with closed value sets.

>>> import numpy as np
>>> facts = sample_facts("ct", np.random.default_rng(7))
>>> from_dict(to_dict(facts)) == facts
True
>>> VALUES["ct"]["margin"]
('not applicable', 'smooth', 'spiculated')

A phantom image is drawn from these facts and from nothing else but a seed for its looks; it is not clinical data.
Every named value that stands for a measurement comes with the integer that is drawn, and the bands of
neighbouring values are separated by a gap (`BANDS`), so that no image is a borderline case. Diagnoses and grades
are not facts: `tasks.phantom.knowledge` derives them by written rules.

Facts are sampled near-uniformly over the values of each attribute and near-independently between attributes.
Exceptions, all of them medicine: what is measured on a finding is "not applicable" without the finding; fundus
facts are drawn in five equal strata so that all severity grades of retinopathy come equally often; traction
excludes a normal foveal pit; a macular hole interrupts the ellipsoid zone.

Needs numpy only. Must not import torch or anything of `bench`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from tasks.phantom.values import BANDS, COLOURS, MEASURES, NOT_APPLICABLE, SIDES, VALUES

__all__ = [
    "BANDS",
    "COLOURS",
    "FACTS",
    "MEASURES",
    "MODALITIES",
    "NOT_APPLICABLE",
    "SIDES",
    "VALUES",
    "CtFacts",
    "DermFacts",
    "Facts",
    "FundusFacts",
    "OctFacts",
    "PathFacts",
    "from_dict",
    "modality_of",
    "sample_facts",
    "to_dict",
]


@dataclass(frozen=True, slots=True)
class PathFacts:
    """Histology at high power, one field about 0.15 mm wide.

    `stain` and, for an immunostain, where the brown chromogen (DAB) lies: `pattern`. "negative" is blue
    counterstain without brown. `cellularity` bands `nucleus_count` (epithelial or tumour nuclei, mitoses
    included, lymphocytes not). `size_variation` (anisonucleosis) bands `size_ratio_x10`, ten times the ratio of
    largest to smallest nuclear diameter. `mitotic_activity` bands `mitoses`, `inflammation` (lymphocytes)
    bands `lymphocyte_count`. `chromatin` is that of the non-dividing nuclei.
    """

    stain: str
    pattern: str
    cellularity: str
    nucleus_count: int
    size_variation: str
    size_ratio_x10: int
    chromatin: str
    mitotic_activity: str
    mitoses: int
    glands: str
    inflammation: str
    lymphocyte_count: int


@dataclass(frozen=True, slots=True)
class CtFacts:
    """One axial chest slice in a lung window, radiological convention (patient's right at the viewer's left).

    `nodule_side` "none" makes `nodule_size` and `margin` not applicable and `nodule_mm` 0. `nodule_size` bands
    `nodule_mm` (diameter without spicules): "small nodule" 6 to 8 mm, "nodule" 14 to 20 mm, "mass" above 30 mm.
    `effusion` and `ground_glass` name the side or "bilateral".
    """

    nodule_side: str
    nodule_size: str
    nodule_mm: int
    margin: str
    effusion: str
    ground_glass: str


@dataclass(frozen=True, slots=True)
class DermFacts:
    """One pigmented lesion under the dermatoscope, in the terms of the ABCD rule of dermoscopy.

    `asymmetry` counts axes (A, 0 to 2). `border` bands `border_segments` (B), the number of eighths of the
    rim that are notched and end abruptly. `main_colour` covers most of the lesion; `colours` holds it first and
    then every colour that shows as a patch (C); `colour_variety` bands their number. `structure` is the
    global pattern. `diameter` bands `diameter_mm` (largest diameter; the ruler in the image has 1 mm ticks).
    """

    asymmetry: str
    border: str
    border_segments: int
    main_colour: str
    colour_variety: str
    colours: tuple[str, ...]
    structure: str
    diameter: str
    diameter_mm: int


@dataclass(frozen=True, slots=True)
class FundusFacts:
    """One colour fundus photograph centred between disc and macula, upright, as seen by the observer.

    `laterality`: the optic disc lies nasally, that is right of the macula in a right eye and left of it in a
    left eye. `cupping` bands `cup_disc_x100` (vertical cup-to-disc ratio in hundredths). `microaneurysms`,
    `haemorrhages` and `exudates` band their counts; haemorrhages in "four quadrants" are at least five in
    each. `neovascularisation` is fine new vessels at the disc.
    """

    laterality: str
    cupping: str
    cup_disc_x100: int
    microaneurysms: str
    microaneurysm_count: int
    haemorrhages: str
    haemorrhage_count: int
    exudates: str
    exudate_count: int
    neovascularisation: str


@dataclass(frozen=True, slots=True)
class OctFacts:
    """One macular OCT B-scan through the fovea, vitreous above.

    `fluid` names the compartment; `drusen` bands `drusen_count`; `traction` is what pulls at the inner
    surface; `ellipsoid_zone` is the bright line above the retinal pigment epithelium; `marked_layer` is the
    layer that the arrow at the image's edge points to.
    """

    fluid: str
    drusen: str
    drusen_count: int
    traction: str
    foveal_contour: str
    ellipsoid_zone: str
    marked_layer: str


Facts = PathFacts | CtFacts | DermFacts | FundusFacts | OctFacts

FACTS: Mapping[str, type[Any]] = {
    "path": PathFacts, "ct": CtFacts, "derm": DermFacts, "fundus": FundusFacts, "oct": OctFacts,
}  # fmt: skip
"""Modality (= task name) to its dataclass."""

MODALITIES = tuple(FACTS)


def sample_facts(modality: str, rng: np.random.Generator) -> Facts:
    """Draw facts of one image. Same generator state, same facts, on every platform.

    Raises:
        ValueError: `modality` is not one of `MODALITIES`.
    """
    if modality not in FACTS:
        raise ValueError(f"unknown modality {modality!r}, expected one of {', '.join(MODALITIES)}")
    drawn: dict[str, Any] = {name: _pick(rng, values) for name, values in VALUES[modality].items()}
    _CONSTRAIN[modality](drawn, rng)
    for name, measure in MEASURES[modality].items():
        low, high = BANDS[modality][name][drawn[name]]
        drawn[measure] = int(rng.integers(low, high + 1))
    return from_dict({"modality": modality, **drawn})


def to_dict(facts: Facts) -> dict[str, Any]:
    """JSON-able dict: the fields and "modality". Goes to `Sample.facts`."""
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(facts).items()}
    return {"modality": modality_of(facts), **values}


def from_dict(values: Mapping[str, Any]) -> Facts:
    """The facts that `to_dict` wrote, checked against `VALUES` and `BANDS`.

    Raises:
        ValueError: a missing or unknown field, a value outside its set or band; says which.
    """
    modality = str(values.get("modality"))
    if modality not in FACTS:
        raise ValueError(f"facts name the modality {modality!r}, expected one of {', '.join(MODALITIES)}")
    given = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items() if name != "modality"}
    names = {field.name for field in fields(FACTS[modality])}
    if set(given) != names:
        missing, unknown = sorted(names - set(given)), sorted(set(given) - names)
        raise ValueError(f"{modality} facts: missing {missing}, unknown {unknown}")
    _check(modality, given)
    facts: Facts = FACTS[modality](**given)
    return facts


def modality_of(facts: Facts) -> str:
    """The modality whose dataclass `facts` is."""
    return next(name for name, kind in FACTS.items() if type(facts) is kind)


_NEEDS: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "path": (("pattern", "stain", "H&E"),),
    "ct": (("nodule_size", "nodule_side", "none"), ("margin", "nodule_side", "none")),
}
"""Attribute, the attribute it depends on, and that one's value that makes it not applicable."""

_COLOUR_COUNT = {"one or two": (1, 2), "four or more": (4, 5)}


def _check(modality: str, given: Mapping[str, Any]) -> None:
    for name, allowed in VALUES[modality].items():
        if given[name] not in allowed:
            raise ValueError(f"{modality}.{name} is {given[name]!r}, expected one of {allowed}")
    for name, measure in MEASURES[modality].items():
        low, high = BANDS[modality][name][given[name]]
        if not low <= given[measure] <= high:
            raise ValueError(f"{modality}.{measure} is {given[measure]}, but {given[name]!r} means {low} to {high}")
    for name, needs, without in _NEEDS.get(modality, ()):
        if (given[name] == NOT_APPLICABLE) != (given[needs] == without):
            raise ValueError(f"{modality}.{name} is {given[name]!r} although {needs} is {given[needs]!r}")
    if modality == "derm":
        low, high = _COLOUR_COUNT[given["colour_variety"]]
        colours = given["colours"]
        known = len(set(colours) & set(COLOURS)) == len(colours)
        if not known or colours[:1] != (given["main_colour"],) or not low <= len(colours) <= high:
            raise ValueError(f"derm.colours is {colours}, expected {given['main_colour']!r} first, then others of "
                             f"{COLOURS}, {low} to {high} in all")  # fmt: skip


def _pick(rng: np.random.Generator, values: Sequence[str]) -> str:
    return values[int(rng.integers(len(values)))]


def _present(name: str, modality: str) -> tuple[str, ...]:
    return tuple(value for value in VALUES[modality][name] if value != NOT_APPLICABLE)


def _constrain_path(drawn: dict[str, Any], rng: np.random.Generator) -> None:
    drawn["pattern"] = NOT_APPLICABLE if drawn["stain"] == "H&E" else _pick(rng, _present("pattern", "path"))


def _constrain_ct(drawn: dict[str, Any], rng: np.random.Generator) -> None:
    for name in ("nodule_size", "margin"):
        drawn[name] = NOT_APPLICABLE if drawn["nodule_side"] == "none" else _pick(rng, _present(name, "ct"))


def _constrain_derm(drawn: dict[str, Any], rng: np.random.Generator) -> None:
    low, high = _COLOUR_COUNT[drawn["colour_variety"]]
    others = [colour for colour in COLOURS if colour != drawn["main_colour"]]
    chosen = rng.permutation(len(others))[: int(rng.integers(low, high + 1)) - 1]
    drawn["colours"] = (drawn["main_colour"], *(others[i] for i in sorted(chosen.tolist())))


_FUNDUS_STRATA: tuple[Mapping[str, tuple[str, ...]], ...] = (
    {"microaneurysms": ("absent",), "haemorrhages": ("absent",), "exudates": ("absent",)},
    {"microaneurysms": ("few", "many"), "haemorrhages": ("absent",), "exudates": ("absent",)},
    {"microaneurysms": ("few", "many"), "haemorrhages": ("absent", "few"), "exudates": ("few", "many")},
    {"haemorrhages": ("four quadrants",)},
    {},
)
"""Allowed values in each of five equally frequent strata; what a stratum does not name stays free."""


def _constrain_fundus(drawn: dict[str, Any], rng: np.random.Generator) -> None:
    stratum = int(rng.integers(len(_FUNDUS_STRATA)))
    for name, allowed in _FUNDUS_STRATA[stratum].items():
        drawn[name] = _pick(rng, allowed)
    drawn["neovascularisation"] = "present" if stratum == len(_FUNDUS_STRATA) - 1 else "absent"


def _constrain_oct(drawn: dict[str, Any], rng: np.random.Generator) -> None:
    if drawn["traction"] == "vitreomacular traction" and drawn["foveal_contour"] == "normal pit":
        drawn["foveal_contour"] = _pick(rng, VALUES["oct"]["foveal_contour"][1:])
    if drawn["foveal_contour"] == "full-thickness hole":
        drawn["ellipsoid_zone"] = "disrupted"


_CONSTRAIN = {
    "path": _constrain_path, "ct": _constrain_ct, "derm": _constrain_derm, "fundus": _constrain_fundus,
    "oct": _constrain_oct,
}  # fmt: skip
