"""Plotly figures as SVG or PNG, drawn by the machine's browser in a process that is ended where it hangs.

Run as a script with a way (``playwright`` or ``kaleido``) and names, it draws each ``NAME.plotly.json`` of the current
folder as ``NAME.png``. `write_pngs` runs it so, one way after the other, and says what is missing in the end.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes

PICTURE = ".plotly.json"
WIDTH, SCALE = 1180, 1.5
# What it may take: the start of a browser on a busy machine, and a picture.
START_SECONDS, PICTURE_SECONDS = 60.0, 5.0
WAYS = ("playwright", "kaleido")
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_ADVICE = "`pip install playwright` and the system's Chromium (Debian: `apt install chromium`) draw them"


def drawn(figures: Iterable[str], form: str = "svg", **options: float) -> Iterator[bytes]:
    """Draw figures in a headless browser through Playwright.

    Parameters
    ----------
    figures
        Each as JSON text.
    form
        ``"svg"`` or ``"png"``.
    options
        ``width`` and ``height`` in pixels and ``scale``, by default the figure's own and 1.

    Raises
    ------
    ImportError
        If Playwright is not installed.
    playwright.sync_api.Error
        If no browser is found, it does not start, or a figure cannot be drawn.
    """
    from playwright.sync_api import sync_playwright
    from plotly.offline import get_plotlyjs

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_browser())
        page = browser.new_page()
        page.set_content("<html><body></body></html>")
        page.add_script_tag(content=get_plotlyjs())
        for figure in figures:
            uri = page.evaluate(
                "([f, o]) => Plotly.toImage(JSON.parse(f), o)", [figure, {"format": form, **options}]
            )
            head, _, body = uri.partition(",")
            yield base64.b64decode(body) if head.endswith("base64") else unquote_to_bytes(body)
        browser.close()


def write_pngs(
    directory: Path, names: Sequence[str], *, ways: Sequence[str] = WAYS, seconds: float | None = None
) -> str | None:
    """Draw ``NAME.plotly.json`` of a folder as ``NAME.png``.

    Parameters
    ----------
    directory, names
        Where the figures lie, and which.
    ways
        What to try, first to last, each for what the ones before did not draw.
    seconds
        The longest that a way may take; by default what as many pictures need on a busy machine.

    Returns
    -------
    str or None
        Which files are missing, why, and what would help; None where all are there.
    """
    for name in names:  # a picture of an earlier study must not pass for one of this
        (directory / f"{name}.png").unlink(missing_ok=True)
    missing, reasons = list(names), []
    for way in ways:
        reason = _draw(directory, missing, way, seconds or START_SECONDS + PICTURE_SECONDS * len(missing))
        missing = [name for name in missing if not (directory / f"{name}.png").exists()]
        if not missing:
            return None
        reasons.append(f"{way}: {reason}")
    files = ", ".join(f"{name}.png" for name in missing)
    return f"{len(missing)} of {len(names)} PNG files are missing ({'; '.join(reasons)}); {_ADVICE}. Missing: {files}"


def _draw(directory: Path, names: Sequence[str], way: str, seconds: float) -> str:
    """Draw in a process of its own; the reason where it failed."""
    process = subprocess.Popen(
        [sys.executable, "-P", __file__, way, *names],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError, AttributeError):  # Windows has no process groups
            os.killpg(process.pid, signal.SIGKILL)  # the browser's driver too, which would wait for ever
        process.kill()
        process.wait()
        return f"no end after {seconds:g} s"
    lines = [line for line in errors.splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else f"exit code {process.returncode}"


def _browser() -> str | None:
    """Path of the system's browser; None leaves the choice to the drawing library."""
    return next((path for name in _BROWSERS if (path := shutil.which(name))), None)


def _playwright(names: Sequence[str]) -> None:
    for name, picture in zip(names, drawn(map(_stored, names), "png", width=WIDTH, scale=SCALE), strict=True):
        temporary = Path(f".{name}.png.{os.getpid()}")
        temporary.write_bytes(picture)
        os.replace(temporary, f"{name}.png")


def _kaleido(names: Sequence[str]) -> None:
    from plotly.io import from_json, write_images

    browser = _browser()
    if browser:
        os.environ.setdefault("BROWSER_PATH", browser)  # where the library looks
    figures = [from_json(_stored(name)) for name in names]
    write_images(figures, [Path(f"{name}.png") for name in names], width=WIDTH, scale=SCALE)


def _stored(name: str) -> str:
    return Path(name + PICTURE).read_text(encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """Draw one way what is asked for; one line on standard error where that cannot be done."""
    way, *names = arguments
    try:
        (_playwright if way == "playwright" else _kaleido)(names)
    except Exception as error:  # drawing libraries raise errors of many kinds
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        sys.stderr.write(reason.strip() + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
