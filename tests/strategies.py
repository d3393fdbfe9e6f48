"""What several rooms draw values from."""

from __future__ import annotations

from hypothesis import strategies as st

WORDS = st.text(st.sampled_from('"\\/\n\r\t\0\x1b\x7fa b\u2028é😀[]'), max_size=8) | st.text(max_size=8)
RECORDS = st.dictionaries(
    st.sampled_from(["log", "log_id", "first_position", "position", "id", "stream", "duplicate"]),
    st.none() | st.booleans() | st.integers() | WORDS,
    max_size=5,
)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
