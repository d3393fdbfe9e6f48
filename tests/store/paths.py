"""What may lie where a log is to be."""

from __future__ import annotations

from pathlib import Path


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def a_file(path: Path) -> None:
    path.write_text("kept")


def a_folder(path: Path) -> None:
    path.mkdir()


def a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def text_file(path: Path) -> None:
    path.write_text("an ordinary text\n" * 100)


def empty_file(path: Path) -> None:
    path.touch()
