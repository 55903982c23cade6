"""A drawn dataset with the faults that real ones have."""

from __future__ import annotations

from pathlib import Path


def flip(path: Path, at: int, bit: int = 0) -> None:
    """Change one bit of one byte of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        (old,) = file.read(1)
        file.seek(at)
        file.write(bytes([old ^ 1 << bit]))


def spoil(root: Path) -> None:
    """Four files that cannot be read, and one image under two labels."""
    (root / "disc" / "000000.jpeg").write_bytes((root / "disc" / "000000.jpeg").read_bytes()[:500])
    (root / "disc" / "000001.jpeg").write_bytes(b"")
    (root / "disc" / "000002.jpeg").write_text("an error page")
    (root / "ring" / "x.jpeg").symlink_to("gone.jpeg")
    (root / "ring" / "000007.jpeg").write_bytes((root / "disc" / "000007.jpeg").read_bytes())
