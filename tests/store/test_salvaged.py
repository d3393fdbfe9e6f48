"""The versions that streams lack find their places among the positions that are lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from esctl.store.salvaged import _assigned


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=30), st.data())
def test_each_missing_version_gets_a_position_between_its_neighbours(streams: list[str], data: st.DataObject) -> None:
    lost = data.draw(st.sets(st.integers(1, len(streams))))
    ends: dict[str, tuple[int, int]] = {}
    versions = dict.fromkeys(streams, 0)
    jobs = []
    for position, stream in enumerate(streams, 1):
        versions[stream] += 1
        if position not in lost:
            version, after = ends.get(stream, (0, 0))
            jobs += [(after, position, stream, missing) for missing in range(version + 1, versions[stream])]
            ends[stream] = versions[stream], position
    placed = _assigned(sorted(lost), jobs)
    assert placed is not None
    assert sorted(placed.values()) == sorted((stream, version) for _, _, stream, version in jobs)
    at = {place: position for position, place in placed.items()}
    for after, before, stream, version in jobs:
        assert after < at[stream, version] < before
        assert at.get((stream, version - 1), 0) < at[stream, version]


def test_versions_without_enough_positions_are_not_placed() -> None:
    assert _assigned([5], [(1, 9, "a", 2), (1, 9, "a", 3)]) is None
