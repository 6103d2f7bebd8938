"""``guardreasoner demo``."""

from dataclasses import replace
from importlib import import_module

import pytest

from guardreasoner_sdk.cli.demo import SCENES, STREAM, Scene
from guardreasoner_sdk.guard import Guard
from tests.sdk.cli.command import invoke, run


def test_the_demo_shows_every_scene_and_stops_the_stream_midway() -> None:
    done = run("demo", env={"COLUMNS": "100"})
    shown = done.stdout.decode()
    assert (done.returncode, done.stderr) == (0, b"")
    assert all(scene.title in shown for scene in SCENES)
    assert "Seasonal vegetables" in shown
    assert "stopped: harmful_response" in shown


def test_the_text_that_was_stopped_is_not_shown() -> None:
    bad = STREAM.reply.split("\n\n", 1)[1].split("\n")[0]
    shown = " ".join(invoke("demo").stdout.split())
    assert bad[:40] not in shown


@pytest.mark.parametrize(("scene", "action"), [(SCENES[0], "allow"), (SCENES[1], "block")])
def test_what_is_shown_was_decided_by_the_guard(
    monkeypatch: pytest.MonkeyPatch, scene: Scene, action: str
) -> None:
    # Under another title, so that what is said can only come from the text.
    played = (replace(scene, title="a scene"),)
    monkeypatch.setattr(import_module("guardreasoner_sdk.cli.demo"), "SCENES", played)
    scenes, _, _ = invoke("demo").stdout.partition(STREAM.title)
    assert [word for word in scenes.split() if word in ("allow", "block")] == [action] * (
        2 if action == "allow" else 1
    )


def test_every_scene_is_what_its_title_says() -> None:
    def assistant(prompt: str) -> str:
        return next(scene.reply for scene in SCENES if scene.prompt == prompt)

    with Guard(judge="screener", cache="off") as guard:
        found = {scene.title: guard.call(assistant, scene.prompt) for scene in SCENES}
    assert {title for title, guarded in found.items() if not guarded.allowed} == {"harmful"}
    refusal = found["refused"].verdicts[-1].refusal
    assert refusal is not None
    assert refusal.positive


def test_it_fits_a_terminal_of_100_columns() -> None:
    shown = invoke("demo", env={"COLUMNS": "100"}).stdout
    table = [line for line in shown.splitlines() if line.startswith("│")]
    assert table
    assert {len(line.rstrip()) for line in table} <= set(range(101))
    assert "…" not in "".join(table)


def test_settings_that_cannot_work_are_said_in_a_line() -> None:
    result = invoke("demo", env={"GUARDREASONER_URL": "http://127.0.0.1:9/v1"})
    assert result.exit_code == 2
    assert "screener" in result.stderr
