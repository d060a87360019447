"""Symmetry files: what they declare, and errors that name the entry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rl_core.errors import SymmetryError
from rl_core.symmetry import load_symmetry_file

SYMMETRIES = Path(__file__).parents[3] / "rl_core" / "gymnasium" / "symmetries"
MIRROR = """
group = "C2"
[observation]
left = "right"
right = "left"
speed = "-speed"
[action]
push = "-push"
"""


def write(folder: Path, text: str, name: str = "symmetry.toml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_entries_are_moved_and_negated(tmp_path: Path) -> None:
    declared = load_symmetry_file(write(tmp_path, MIRROR))
    assert declared.observation == ("left", "right", "speed")
    assert declared.action == ("push",)
    moved = declared.symmetry.transform_observation(1, torch.tensor([1.0, 2.0, 3.0]))
    assert moved.tolist() == [2.0, 1.0, -3.0]
    assert declared.symmetry.transform_action(1, torch.tensor([4.0])).tolist() == [-4.0]


def test_entries_of_a_cycle_come_from_where_the_file_says(tmp_path: Path) -> None:
    text = 'group = "C3"\n[observation]\na = "b"\nb = "c"\nc = "a"\n[action]\nu = "u"\n'
    declared = load_symmetry_file(write(tmp_path, text))
    assert declared.symmetry.transform_observation(1, torch.tensor([1.0, 2.0, 3.0])).tolist() == [
        2.0,
        3.0,
        1.0,
    ]


def test_groups_with_several_generators(tmp_path: Path) -> None:
    text = """
    group = "D4"
    [observation]
    x = {r = "-y", f = "-x"}
    y = {r = "x", f = "y"}
    [action]
    u = {r = "-v", f = "-u"}
    v = {r = "u", f = "v"}
    """
    symmetry = load_symmetry_file(write(tmp_path, text)).symmetry
    turned = symmetry.transform_observation(symmetry.group.element("r"), torch.tensor([1.0, 0.0]))
    assert turned.tolist() == [0.0, 1.0]
    product = (
        'group = "C2 x C2"\n[observation]\nx = {r1 = "-x", r2 = "x"}\n[action]\nu = {r1 = "u", r2 = "-u"}\n'
    )
    assert load_symmetry_file(write(tmp_path, product)).symmetry.group.order == 4


def test_json_is_the_same(tmp_path: Path) -> None:
    document = {
        "group": "C2",
        "observation": {"left": "right", "right": "left", "speed": "-speed"},
        "action": {"push": "-push"},
    }
    by_json = load_symmetry_file(write(tmp_path, json.dumps(document), "symmetry.json"))
    by_toml = load_symmetry_file(write(tmp_path, MIRROR))
    assert by_json.observation == by_toml.observation
    assert torch.equal(by_json.symmetry.observation.matrices, by_toml.symmetry.observation.matrices)


def test_a_group_of_one_element_needs_names_only(tmp_path: Path) -> None:
    text = 'group = "C1"\n[observation]\nx = ""\n[action]\nu = ""\n'
    assert load_symmetry_file(write(tmp_path, text)).symmetry.group.order == 1


@pytest.mark.parametrize("name", ["pendulum", "swimmer"])
def test_example_files_load(name: str) -> None:
    assert load_symmetry_file(SYMMETRIES / f"{name}.toml").symmetry.group.order == 2


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"C2"', '"mirrors"', ["group", "'mirrors'", "C2"]),
        ('"C2"', "2", ["group", "2"]),
        ('"-speed"', '"-sped"', ["[observation] speed", "no entry 'sped'", "left, right, speed"]),
        ('"-speed"', '"left"', ["[observation] speed", "left is the image of right already"]),
        ('"-speed"', "3", ["[observation] speed", "3 is no image"]),
        ('"-speed"', '"-"', ["[observation] speed", "no image"]),
        ('right = "left"', 'right = "-left"', ["[observation] left", "2 times r of C2", "becomes -left"]),
        ('"C2"', '"D2"', ["[observation] left", "r = ", "f = "]),
        ("[action]", "[actions]", ["unknown key 'actions'"]),
        ('[action]\npush = "-push"', "", ["[action] is missing"]),
        ("[action]", "[action", ["symmetry.toml"]),
    ],
)
def test_errors_name_the_entry(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    with pytest.raises(SymmetryError) as caught:
        load_symmetry_file(write(tmp_path, MIRROR.replace(old, new)))
    message = str(caught.value)
    assert "symmetry.toml" in message
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SymmetryError, match=r"nothing\.toml: cannot be read"):
        load_symmetry_file(tmp_path / "nothing.toml")
