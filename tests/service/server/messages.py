"""Requests as bytes: good ones, and each way that they may be spoilt on the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

DECISIONS = ("/api/v1/allocations", "/api/v1/signals")
OTHERS = (
    "/health",
    "/ready",
    "/metrics",
    "/openapi.json",
    "/api/v1/models",
    "/api/v1/models/toy",
    "/api/v1/backtests",
    "/api/v1/trainings",
    "/api/v1/jobs",
    "/api/v1/jobs/" + "0" * 32,
    "/api/v1/runs",
    "/api/v1/runs/nope/report",
    "/login",
    "/dashboard",
    "/nope",
    "*",
    "/",
)
_days = st.one_of(
    st.dates().map(str),
    st.sampled_from(
        ["2024-03-28", "2024-03-01", "2023-01-01", "0001-01-01", "9999-12-31", "2024-02-30", "x"]
    ),
)
_numbers = st.one_of(
    st.floats(-1, 1),
    st.floats(),
    st.integers(),
    st.sampled_from([0, -0.0, 1e-300, 5e-324, 1e15, 1e16, -100, 100, 10**400]),
    st.booleans(),
    st.none(),
    st.just("1"),
)
_symbols = st.sampled_from(["AAA", "BBB", "CCC", "AAA", "BBB", "NOPE", "", "\x00", "é", "\ud800", "A" * 33])
_quantities = st.dictionaries(_symbols, _numbers, max_size=3)
_sound = st.dictionaries(st.sampled_from(["AAA", "BBB", "CCC"]), st.floats(-1, 1), max_size=3)
_held = st.fixed_dictionaries({"weights": _sound}) | st.fixed_dictionaries(
    {}, optional={"weights": _quantities, "shares": _quantities, "cash": _numbers}
)
_sized = st.fixed_dictionaries({"nav": st.floats(1, 1e9)}) | st.fixed_dictionaries(
    {}, optional={"nav": _numbers, "lot_size": _numbers, "lot_sizes": _quantities}
)
_series = st.lists(st.floats(1, 1e3) | _numbers, min_size=1, max_size=8)
_panels = st.fixed_dictionaries(
    {
        "dates": st.lists(_days, min_size=1, max_size=8),
        "close": st.dictionaries(_symbols, _series, max_size=3),
    },
    optional={"open": st.dictionaries(_symbols, _series, max_size=2)},
) | st.integers(4, 12).map(
    lambda days: {
        "dates": [f"2024-03-{day + 1:02}" for day in range(days)],
        "close": {symbol: [10.0 + day for day in range(days)] for symbol in ("AAA", "BBB", "CCC")},
    }
)
documents = st.fixed_dictionaries(
    {"model": st.sampled_from(["toy"] * 9 + ["nope", "", 1])},
    optional={
        "as_of": st.sampled_from(["2024-03-28", "2024-03-27"]) | _days,
        "data": st.sampled_from(["toy", "toy", "toy@1", "nope", "../toy", None]),
        "holdings": _held,
        "sizing": _sized,
    },
) | st.fixed_dictionaries(
    {"model": st.just("toy")},
    optional={
        "as_of": _days,
        "prices": _panels,
        "holdings": _held,
        "allow_stale": st.booleans() | _numbers,
        "else": st.recursive(_numbers, lambda inner: st.lists(inner, max_size=3), max_leaves=5),
    },
)


def _nested(depth: int) -> bytes:
    return b'{"model": "toy", "else": ' + b"[" * depth + b"]" * depth + b"}"


def _spoilt(pair: tuple[bytes, str, int]) -> bytes:
    body, how, number = pair
    place = number % (len(body) + 1)
    return {
        "cut": body[:place],
        "flipped": body[:place] + bytes([number % 256]) + body[place + 1 :],
        "more": body + b" x",
        "bom": b"\xef\xbb\xbf" + body,
        "latin": body.replace(b"toy", b"t\xff"),
        "utf-16": body.decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass"),
        "twice": body.replace(b'"model"', b'"model": "nope", "model"', 1),
        "nested": _nested(number),
        "digits": b'{"model": "toy", "sizing": {"nav": ' + b"9" * (number + 1) + b"}}",
        "wide": body + b" " * number,
        "nothing": b"",
        "form": b"a=b&c=%ff",
    }[how]


_HOW = (
    "cut",
    "flipped",
    "more",
    "bom",
    "latin",
    "utf-16",
    "twice",
    "nested",
    "digits",
    "wide",
    "nothing",
    "form",
)
_sound_documents = st.fixed_dictionaries(
    {"model": st.just("toy")},
    optional={"as_of": st.sampled_from(["2024-03-28", "2024-03-27"]), "holdings": _held, "sizing": _sized},
)
sound_texts = _sound_documents.map(lambda document: json.dumps(document).encode())
_texts = documents.map(lambda document: json.dumps(document).encode())
bodies = st.one_of(
    _texts, _texts, st.tuples(_texts, st.sampled_from(_HOW), st.integers(0, 6000)).map(_spoilt)
)

_targets = st.one_of(
    st.sampled_from(DECISIONS),
    st.sampled_from(DECISIONS),
    st.sampled_from(DECISIONS + OTHERS),
    st.tuples(
        st.sampled_from(DECISIONS + OTHERS),
        st.sampled_from(
            [
                "{}?x=1",
                "{}?",
                "{}?a=%ff&limit=abc",
                "{}/",
                "//a{}",
                "{}#part",
                "http://else{}",
                "http://[{}",
                "{}%00",
                "/.{}",
                "{}/../models",
                "{}%2f",
                "{}\x80",
                "{} x",
                "http://a:b@c{}",
            ]
        ),
    ).map(lambda pair: pair[1].format(pair[0])),
    st.just("/api/v1/alloc%61tions"),
)
_methods = st.sampled_from(
    ["GET", "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "CONNECT", "PROPFIND", "FOO", "post"]
)
_kinds = st.sampled_from(
    [
        "Application/JSON; charset=utf-8",
        "application/x+json",
        "application/json\x80",
        "text/plain",
        "a",
        "",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
    ]
)
_extras = st.lists(
    st.sampled_from(
        [
            ("Connection", "close"),
            ("Connection", "keep-alive"),
            ("connection", "x, CLOSE"),
            ("Expect", "100-continue"),
            ("Expect", "200-ok"),
            ("X-Forwarded-For", "203.0.113.7"),
            ("x-forwarded-for", "odd, ,, \x80"),
            ("X-Forwarded-Proto", "https"),
            ("X-FORWARDED-PROTO", "wss"),
            ("X-Forwarded-Proto", "gopher"),
            ("Content-Encoding", "gzip"),
            ("Accept", "text/html"),
            ("Cookie", "session=\xff; =; ;"),
            ("Host", "["),
            ("Range", "bytes=5-1"),
            ("If-None-Match", "*"),
            ("X-Long", "x" * 5000),
            ("X-Empty", ""),
            ("X-Request-Id", "other"),
            ("Authorization", "Bearer no"),
            ("Authorization", "Basic eDp5"),
            ("Content-Type", "text/plain"),
            ("Content-Length", "7"),
            ("Content-Length", "-1"),
            ("Content-Length", "1e3"),
            ("Transfer-Encoding", "identity"),
            ("Bad Name", "x"),
            ("X-Nul", "\x00"),
            ("X-Fold", "a\r\n b"),
            (":pseudo", "x"),
        ]
    ),
    max_size=2,
)
_framings = st.sampled_from(["chunked", "chunked", "trailer", "short", "long", "none", "broken"])


_ASPECTS = ("body", "method", "target", "version", "key", "kind", "framing", "extras", "style")


def message(draw: Any, keys: Mapping[str, str]) -> bytes:
    """Draw one request that is spoilt in two ways at most, with a key of those given by name."""
    odd = draw(st.sets(st.sampled_from(_ASPECTS), max_size=2))

    def part(aspect: str, good: Any, spoilt: Any) -> Any:
        return draw(spoilt if aspect in odd else good)

    body = part("body", sound_texts, bodies)
    key = part("key", st.just("good"), st.sampled_from(sorted(keys)))
    names = {"host": "test", "authorization": keys[key], "x-request-id": "same"}
    names["content-type"] = part("kind", st.just("application/json"), _kinds)
    pairs = [(name, value) for name, value in names.items() if value]
    framing = part("framing", st.just("length"), _framings)
    chunk = draw(st.integers(1, 64)) if framing in {"chunked", "trailer", "broken"} else 0
    pairs += part("extras", st.just([]), _extras) + _announced(framing, len(body))
    style = part("style", st.just(str), st.sampled_from([str.title, str.upper]))
    pairs = part("style", st.just(pairs), st.permutations(pairs))
    lines = [f"{style(name)}: {value}\r\n" for name, value in pairs]
    version = part("version", st.just("1.1"), st.sampled_from(["1.0", "1.0", "2.0", "0.9", "1.2", "x"]))
    target = part("target", st.sampled_from(DECISIONS), _targets)
    start = f"{part('method', st.just('POST'), _methods)} {target} HTTP/{version}\r\n"
    return f"{start}{''.join(lines)}\r\n".encode("latin-1") + (
        _chunks(body, chunk, framing) if chunk else body
    )


def _announced(framing: str, length: int) -> list[tuple[str, str]]:
    if framing in {"chunked", "trailer", "broken"}:
        return [("transfer-encoding", "chunked")]
    more = {"short": -3, "long": 3}.get(framing, 0)
    return [] if framing == "none" else [("content-length", str(max(0, length + more)))]


def _chunks(body: bytes, size: int, framing: str) -> bytes:
    parts = [body[place : place + size] for place in range(0, len(body), size)]
    text = b"".join(b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in parts)
    if framing == "broken":
        return text + b"x\r\n"
    return (
        text
        + b"0\r\n"
        + (b"Authorization: Bearer no\r\nX-T: \r\n" if framing == "trailer" else b"")
        + b"\r\n"
    )


@st.composite
def conversations(draw: Any, keys: Mapping[str, str]) -> tuple[bytes, tuple[int, ...]]:
    """One to three requests sent without waiting, and where the bytes are cut."""
    many = draw(st.sampled_from([1, 1, 1, 2, 3]))
    data = b"".join(message(draw, keys) for _ in range(many))
    if draw(st.integers(0, 11)) == 0:
        place = draw(st.integers(0, len(data) - 1))
        data = data[:place] + draw(st.binary(max_size=2)) + data[place + 1 :]
    return data, tuple(draw(st.lists(st.integers(1, max(1, len(data))), max_size=3)))
