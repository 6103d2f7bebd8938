"""``guardreasoner screen``: judge one text, or a file of them."""

import sys
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from guardreasoner_sdk.cli._common import Status, fail, make_guard, verdict_table
from guardreasoner_sdk.errors import CannotJudgeError, ConfigError, InputError
from guardreasoner_sdk.options import GuardOptions
from guardreasoner_sdk.policy import Stage


def screen(
    prompt: Annotated[
        str | None, typer.Argument(help="The prompt to judge; - reads it from standard input.")
    ] = None,
    response: Annotated[str | None, typer.Option(help="The model's reply to it.")] = None,
    input_: Annotated[
        str | None,
        typer.Option("--input", help='JSON Lines, {"prompt": …, "response"?: …} each; - is standard input.'),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where the verdicts go, a line a row; an interrupted run is resumed.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an output file that is complete already.")] = False,
    model: Annotated[str | None, typer.Option(help="Guard model: hub id or folder.")] = None,
    url: Annotated[list[str] | None, typer.Option(help="vLLM server; repeat it for several.")] = None,
    judge: Annotated[
        Literal["auto", "screener", "reasoner", "cascade"] | None, typer.Option(help="Who judges.")
    ] = None,
    depth: Annotated[
        Literal["full", "task", "answer"] | None, typer.Option(help="How much a reasoner reasons.")
    ] = None,
    deadline: Annotated[float | None, typer.Option(help="Seconds until there must be a verdict.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
) -> None:
    """Judge a prompt, a prompt with its response, or a file of them.

    Exit status: 0 allowed, 1 blocked, 2 wrong usage, 3 could not be judged; of a file the worst of its rows.
    An API key is read from GUARDREASONER_API_KEY.
    """
    if (prompt is None) == (input_ is None):
        fail("give either a PROMPT or --input FILE. See guardreasoner screen --help")
    if input_ is not None and response is not None:
        fail("--response goes with a PROMPT; with --input the responses stand in the file")
    if input_ is None and output is not None:
        fail("--output goes with --input; the verdict of a single prompt is printed")
    options: dict[str, object] = {"depth": depth, "url": url, "deadline": deadline}
    given = cast(GuardOptions, {name: value for name, value in options.items() if value is not None})
    with make_guard(model, judge=judge, config=str(config) if config else None, options=given) as guard:
        if input_ is not None:
            from guardreasoner_sdk.cli._rows import screen_rows

            raise SystemExit(int(screen_rows(guard, input_, output, overwrite=overwrite)))
        text = sys.stdin.read() if prompt == "-" else cast(str, prompt)
        try:
            verdict = guard.screen(text, response=response)
        except ConfigError as error:
            fail(str(error))
        except (InputError, CannotJudgeError) as error:
            fail(f"could not be judged: {type(error).__name__}: {error}", Status.UNJUDGED)
        decision = guard.policy.decide(verdict, Stage.REQUEST if response is None else Stage.RESPONSE)
        if json_:
            typer.echo(verdict.model_dump_json())
        else:
            from rich.console import Console

            Console().print(verdict_table(verdict, decision))
        raise SystemExit(int(Status.ALLOWED if decision.allowed else Status.BLOCKED))
