"""The kill switch: one file stops all sends of a brand."""

from pathlib import Path


class KillSwitch:
    """Sends are stopped while the file exists; every decision looks again, so no restart is needed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def stop(self) -> None:
        """Stop all sends from the next decision on."""
        self._path.touch()

    def resume(self) -> None:
        """Allow sends again."""
        self._path.unlink(missing_ok=True)

    def __call__(self) -> bool:
        """Return whether sends are stopped; when that cannot be told, they are."""
        try:
            self._path.lstat()
        except FileNotFoundError:
            return not self._path.parent.is_dir()
        except OSError:
            return True
        return True
