"""The closed value sets of the phantom's facts: names, the integers they band, and the bands.

>>> VALUES["ct"]["margin"]
('not applicable', 'smooth', 'spiculated')

Terms are the field's own: nuclear grading words for histology, the ABCD rule of dermoscopy for skin, the
cup-to-disc ratio and the lesions of diabetic retinopathy for the fundus, layer names of optical coherence tomography.
Read them through `tasks.phantom.facts`. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping

NOT_APPLICABLE = "not applicable"
"""Value of an attribute that needs a finding which is absent (the margin of no nodule)."""

SIDES = ("right", "left")
"""The patient's sides. In CT the patient's right is at the viewer's left (radiological convention)."""

COLOURS = ("light brown", "dark brown", "red", "blue-grey", "black", "white")
"""The six colours of the ABCD rule of dermoscopy."""

VALUES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "path": {
        "stain": ("H&E", "immunostain"),
        "pattern": (NOT_APPLICABLE, "nuclear", "membranous", "cytoplasmic", "negative"),
        "cellularity": ("few", "moderate", "many"),
        "size_variation": ("mild", "moderate", "marked"),
        "chromatin": ("fine", "coarsely clumped", "vesicular with prominent nucleoli"),
        "mitotic_activity": ("absent", "few", "many"),
        "glands": ("absent", "well formed", "cribriform"),
        "inflammation": ("absent", "scattered", "dense"),
    },
    "ct": {
        "nodule_side": ("none", *SIDES),
        "nodule_size": (NOT_APPLICABLE, "small nodule", "nodule", "mass"),
        "margin": (NOT_APPLICABLE, "smooth", "spiculated"),
        "effusion": ("none", *SIDES, "bilateral"),
        "ground_glass": ("none", *SIDES, "bilateral"),
    },
    "derm": {
        "asymmetry": ("none", "one axis", "two axes"),
        "border": ("regular", "irregular"),
        "main_colour": ("light brown", "dark brown", "red", "blue-grey"),
        "colour_variety": ("one or two", "four or more"),
        "structure": ("reticular", "globular", "homogeneous"),
        "diameter": ("small", "large"),
    },
    "fundus": {
        "laterality": ("right eye", "left eye"),
        "cupping": ("normal", "suspicious", "enlarged"),
        "microaneurysms": ("absent", "few", "many"),
        "haemorrhages": ("absent", "few", "four quadrants"),
        "exudates": ("absent", "few", "many"),
        "neovascularisation": ("absent", "present"),
    },
    "oct": {
        "fluid": ("none", "intraretinal", "subretinal", "both"),
        "drusen": ("absent", "few", "many"),
        "traction": ("none", "vitreomacular traction", "epiretinal membrane"),
        "foveal_contour": ("normal pit", "flattened", "elevated", "full-thickness hole"),
        "ellipsoid_zone": ("continuous", "disrupted"),
        "marked_layer": ("retinal nerve fibre layer", "outer nuclear layer", "retinal pigment epithelium", "choroid"),
    },
}
"""Every named attribute of every modality with its closed set of values, in ordinal order where there is one."""

MEASURES: Mapping[str, Mapping[str, str]] = {
    "path": {"cellularity": "nucleus_count", "size_variation": "size_ratio_x10", "mitotic_activity": "mitoses",
             "inflammation": "lymphocyte_count"},
    "ct": {"nodule_size": "nodule_mm"},
    "derm": {"border": "border_segments", "diameter": "diameter_mm"},
    "fundus": {"cupping": "cup_disc_x100", "microaneurysms": "microaneurysm_count",
               "haemorrhages": "haemorrhage_count", "exudates": "exudate_count"},
    "oct": {"drusen": "drusen_count"},
}  # fmt: skip
"""Named attribute to the integer field that it bands."""

BANDS: Mapping[str, Mapping[str, Mapping[str, tuple[int, int]]]] = {
    "path": {
        "cellularity": {"few": (13, 17), "moderate": (32, 40), "many": (66, 80)},
        "size_variation": {"mild": (11, 12), "moderate": (16, 18), "marked": (26, 32)},
        "mitotic_activity": {"absent": (0, 0), "few": (1, 2), "many": (4, 6)},
        "inflammation": {"absent": (0, 0), "scattered": (12, 18), "dense": (48, 64)},
    },
    "ct": {"nodule_size": {NOT_APPLICABLE: (0, 0), "small nodule": (6, 8), "nodule": (14, 20), "mass": (34, 42)}},
    "derm": {"border": {"regular": (0, 0), "irregular": (4, 8)}, "diameter": {"small": (3, 4), "large": (8, 10)}},
    "fundus": {
        "cupping": {"normal": (20, 30), "suspicious": (50, 55), "enlarged": (75, 85)},
        "microaneurysms": {"absent": (0, 0), "few": (3, 5), "many": (12, 18)},
        "haemorrhages": {"absent": (0, 0), "few": (2, 4), "four quadrants": (24, 32)},
        "exudates": {"absent": (0, 0), "few": (4, 7), "many": (20, 30)},
    },
    "oct": {"drusen": {"absent": (0, 0), "few": (2, 3), "many": (7, 9)}},
}
"""Inclusive integer range of each banded value; ranges of one attribute are disjoint with a gap between them."""
