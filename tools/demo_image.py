"""Pictures of the demo's report, for the README: its first plot, and the carry vaults' plots.

    perpool demo
    python -m tools.demo_image

Needs Chromium or Chrome.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH = 1100
LARGEST = 250_000
"""Bytes."""
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


@dataclass(frozen=True)
class Picture:
    """A section of the report."""

    name: str
    anchor: str
    height: int


PICTURES = (Picture("demo.png", "#plot", 660), Picture("vaults.png", "#plot-vaults", 860))


def render(report: Path, image: Path, picture: Picture) -> None:
    """Take a picture of a section of the report. Raises click.ClickException."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise click.ClickException("there is no Chromium: install it (apt-get install chromium)")
    if not report.is_file():
        raise click.ClickException(f"there is no {report}: run `perpool demo` first")
    image.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser,
                *QUIET,
                f"--user-data-dir={profile}",
                f"--window-size={WIDTH},{picture.height}",
                "--virtual-time-budget=8000",
                f"--screenshot={image.resolve()}",
                f"{report.resolve().as_uri()}{picture.anchor}",
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
    size = image.stat().st_size
    if size > LARGEST:
        raise click.ClickException(f"{image} has {size:,} bytes, over {LARGEST:,}")


@click.command()
@click.option("--report", type=click.Path(path_type=Path), default="build/demo/report.html")
@click.option("--folder", type=click.Path(path_type=Path), default="docs/images")
@click.option(
    "--only", type=click.Choice([each.name for each in PICTURES]), help="One of the pictures."
)
def main(report: Path, folder: Path, only: str | None) -> None:
    """Render the demo's plots for the README."""
    for picture in PICTURES:
        if only in (None, picture.name):
            image = folder / picture.name
            render(report, image, picture)
            click.echo(f"{image}: {image.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
