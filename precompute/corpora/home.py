"""Where corpora that are made or fetched, rather than installed, are kept: made once, whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def data_home() -> Path:
    """Folder of all such corpora; it need not exist yet.

    Returns
    -------
    Path
        ``$AUDIT_DATA`` if set, else ``.cache/corpora`` in the current folder; absolute.
    """
    return Path(os.environ.get("AUDIT_DATA") or ".cache/corpora").expanduser().absolute()


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Folder of that name under `data_home`, filled on first use.

    Parameters
    ----------
    name : str
        Carries the version of what is made: another version is another folder.
    make : callable
        Fills the empty folder it is given. Should it fail or be stopped, nothing is left under `name`.

    Returns
    -------
    Path
    """
    folder = data_home() / name
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        make(partial)
        partial.chmod(0o755)
        partial.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        # Another process made it in the meantime, and a folder that holds something is not replaced.
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder
