"""stub"""


def make(folder: str) -> dict[str, object]:
    raise NotImplementedError
