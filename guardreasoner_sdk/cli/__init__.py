"""The command ``guardreasoner``.

Exit statuses: 0 allowed (or done), 1 blocked, 2 wrong usage or settings, 3 could not be judged, 130
interrupted.
"""

import typer

from guardreasoner_sdk import __version__
from guardreasoner_sdk.cli.demo import demo
from guardreasoner_sdk.cli.doctor import doctor
from guardreasoner_sdk.cli.screen import screen
from guardreasoner_sdk.cli.serve import serve

app = typer.Typer(
    name="guardreasoner",
    help="A safety guard that reasons: screen prompts and responses of any chat model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(demo)
app.command()(screen)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(serve)
app.command()(doctor)


@app.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        typer.echo(f"guardreasoner-sdk {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line."""
    app()
