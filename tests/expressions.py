"""Models with one expression, wherever an expression may stand."""

from __future__ import annotations

import json


def places(sql: str) -> dict[str, str]:
    """Models with the same expression wherever one may stand, by the place."""
    said = json.dumps(sql, ensure_ascii=False)
    upcast, begin = "[[event.T.upcast]]\nfrom = 1\n", "[aggregate.a]\nstreams = '*'\n"
    return {
        "event.T.upcast[1].compute.x": f"{upcast}compute = {{ x = {said} }}",
        "event.T.upcast[1].when": f"{upcast}set = {{ a = 1 }}\nwhen = {said}",
        "event.T.upcast[1].split[1].compute.x": f"{upcast}split = [ {{ type = 'U', compute = {{ x = {said} }} }} ]",
        "event.U.upcast[1].when": f"[event.U]\nschema = 2\n[[event.U.upcast]]\nfrom = 1\ndrop = true\nwhen = {said}",
        "aggregate.a.on.T.compute.x": f"{begin}[aggregate.a.on.T]\ncompute = {{ x = {said} }}",
        "aggregate.a.on.T[2].when": f"{begin}[[aggregate.a.on.T]]\n[[aggregate.a.on.T]]\nwhen = {said}",
        "aggregate.a.accept.T": f"{begin}[aggregate.a.accept]\nT = {said}",
        "aggregate.a.accept.*": f"{begin}[aggregate.a.accept]\n'*' = {{ rule = {said} }}",
    }
