"""The same scenarios through every surface, from one table: a hole is a missing cell, and that fails."""

import pytest

from tests.integrations import surfaces
from tests.integrations.scenarios import SCENARIOS, Scenario, World
from tests.integrations.surfaces import Surface
from tests.integrations.upstream import Upstream

SURFACES = [*surfaces.SURFACES]

CELLS = [
    (surface, scenario)
    for surface in SURFACES
    for scenario in SCENARIOS
    if scenario.name not in surface.lacks
]


@pytest.mark.parametrize(
    ("surface", "scenario"), CELLS, ids=[f"{surface.name}-{scenario.name}" for surface, scenario in CELLS]
)
def test_a_surface_ends_as_the_scenario_has_to(
    surface: Surface, scenario: Scenario, upstream: Upstream, down: str
) -> None:
    world = World(scenario, upstream, down, structured=surface.structured)
    try:
        surface.run(world)
    finally:
        world.close()


def test_every_surface_meets_every_scenario_or_says_why_not() -> None:
    names = {scenario.name for scenario in SCENARIOS}
    for surface in SURFACES:
        assert surface.lacks.keys() <= names, surface.name
        assert all(surface.lacks.values()), surface.name
    absent = sum(len(surface.lacks) for surface in SURFACES)
    assert len(CELLS) + absent == len(SURFACES) * len(SCENARIOS)
