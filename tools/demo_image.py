"""docs/images/demo.png: the first plot of the demo's report, for the README.

    perpool demo
    python -m tools.demo_image

Needs Chromium or Chrome.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH, HEIGHT = 1100, 660
LARGEST = 200_000
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


def render(report: Path, image: Path) -> None:
    """Take a picture of the report's first plot. Raises click.ClickException."""
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
                f"--window-size={WIDTH},{HEIGHT}",
                "--virtual-time-budget=8000",
                f"--screenshot={image.resolve()}",
                f"{report.resolve().as_uri()}#plot",
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
@click.option("--image", type=click.Path(path_type=Path), default="docs/images/demo.png")
def main(report: Path, image: Path) -> None:
    """Render the demo's first plot for the README."""
    render(report, image)
    click.echo(f"{image}: {image.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
