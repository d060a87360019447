"""Figures as one JSON document for a page: arrays stored once, both themes in one figure.

A figure is made in the light and in the dark look; the light one is kept whole and the dark one as the list
of what differs, so that a page can change its look without carrying its data twice. ``static/figures.js``
reads it.

    {"templates": {"light": …, "dark": …}, "arrays": […],
     "figures": {id: {"data": …, "layout": …, "title": …, "subtitle": …, "dark": [[path, value], …], "narrow":
     {…}}}}

A value ``{"$": k}`` stands for ``arrays[k]``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from trading_app.report.theme import DARK, LIGHT, Theme, template

# Shorter lists are cheaper in place.
_SHARED_LENGTH = 24


def payload(light: Mapping[str, go.Figure], dark: Mapping[str, go.Figure]) -> dict[str, Any]:
    """Return a document of the same figures in both themes, by id."""
    pool = _Pool()
    return {
        "templates": {theme.name: _plain(template(theme)) for theme in (LIGHT, DARK)},
        "figures": {name: _figure(light[name], dark[name], pool) for name in light},
        "arrays": pool.arrays,
    }


def document(figure: go.Figure, theme: Theme) -> dict[str, Any]:
    """Return one figure in one theme, for a page that loads figures one by one."""
    pool = _Pool()
    content = _entry(pool.share(_parts(figure)))
    return {**content, "arrays": pool.arrays, "template": _plain(template(theme))}


def embed(document: Mapping[str, Any]) -> str:
    """JSON text that is safe inside a ``<script type="application/json">`` element."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


class _Pool:
    """Long arrays by content, each stored once."""

    def __init__(self) -> None:
        self.arrays: list[Any] = []
        self._places: dict[str, int] = {}

    def share(self, value: Any) -> Any:
        if isinstance(value, dict):
            if "bdata" in value:
                return self._store(value)
            return {key: self.share(item) for key, item in value.items()}
        if isinstance(value, list):
            if len(value) >= _SHARED_LENGTH and not any(isinstance(item, dict) for item in value):
                return self._store(value)
            return [self.share(item) for item in value]
        return value

    def _store(self, value: Any) -> dict[str, int]:
        key = json.dumps(value, sort_keys=True)
        if key not in self._places:
            self._places[key] = len(self.arrays)
            self.arrays.append(value)
        return {"$": self._places[key]}


def _figure(light: go.Figure, dark: go.Figure, pool: _Pool) -> dict[str, Any]:
    base, other = _entry(pool.share(_parts(light))), _entry(pool.share(_parts(dark)))
    parts = ("data", "layout")
    differences = _differences(
        {part: base[part] for part in parts}, {part: other[part] for part in parts}, ()
    )
    return {**base, "dark": list(differences)}


def _entry(content: dict[str, Any]) -> dict[str, Any]:
    """Take title, subtitle and settings of a narrow screen out of a layout."""
    title, meta = content["layout"].pop("title"), content["layout"].pop("meta", {})
    return {
        **content,
        "title": title["text"],
        "subtitle": title["subtitle"]["text"],
        "narrow": meta.get("narrow", {}),
    }


def _parts(figure: go.Figure) -> dict[str, Any]:
    content = _plain(figure)
    content["layout"].pop("template", None)
    return {"data": content["data"], "layout": content["layout"]}


def _plain(value: Any) -> dict[str, Any]:
    """Plotly's own JSON form, in which missing numbers are null."""
    plain: dict[str, Any] = json.loads(
        value.to_json() if isinstance(value, go.Figure) else json.dumps(value.to_plotly_json())
    )
    return plain


def _differences(light: Any, dark: Any, path: tuple[str | int, ...]) -> Any:
    """Pairs (path, dark value) where the two differ; both have the same structure."""
    if (
        isinstance(light, dict)
        and isinstance(dark, dict)
        and light.keys() == dark.keys()
        and "$" not in light
    ):
        for key in light:
            yield from _differences(light[key], dark[key], (*path, key))
    elif isinstance(light, list) and isinstance(dark, list) and len(light) == len(dark):
        for i, (one, two) in enumerate(zip(light, dark, strict=True)):
            yield from _differences(one, two, (*path, i))
    elif light != dark:
        yield [list(path), dark]
