"""Files and folders that are complete or absent, never half written.

Everything is written beside its destination under a hidden temporary name, flushed to the disk and
then renamed. A run that dies in the middle leaves `.NAME.partial-...` behind, which nothing reads
and which may be deleted.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unbelief.errors import RequestError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def check_destination(path: str | Path, overwrite: bool = False) -> Path:
    """Refuse a destination that must not be written, before any work is done.

    Args:
        path: File or folder that is to appear.
        overwrite: Allow an existing one to be replaced. A folder that holds the current working
            directory, the home folder or a Git checkout is refused all the same.

    Returns:
        The path, absolute, with `~` expanded.

    Raises:
        RequestError: It exists and must not be replaced, or its parent cannot hold it.
    """
    destination = Path(path).expanduser().absolute()
    if destination.is_symlink():
        raise RequestError(
            f"{destination} is a symbolic link", remedy="name the place it points to instead"
        )
    for parent in destination.parents:
        if parent.exists():
            if not parent.is_dir():
                raise RequestError(
                    f"{parent} is a file, so {destination} cannot be inside it",
                    remedy="choose another destination",
                )
            if not os.access(parent, os.W_OK):
                raise RequestError(
                    f"no permission to write in {parent}", remedy="choose another destination"
                )
            break
    if not destination.exists() or _is_empty_folder(destination):
        return destination
    if not overwrite:
        raise RequestError(
            f"{destination} exists already",
            remedy="choose a new destination, or allow it to be replaced with --overwrite",
        )
    if destination.is_dir():
        _refuse_precious(destination)
    return destination


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _refuse_precious(folder: Path) -> None:
    """Replacing a folder deletes all of it, so some folders are never replaced."""
    inside = [Path.cwd(), Path.home()]
    if any(folder == place or folder in place.parents for place in inside):
        raise RequestError(
            f"{folder} holds the current or the home folder and is never replaced",
            remedy="choose a new destination",
        )
    if (folder / ".git").exists():
        raise RequestError(
            f"{folder} is a Git checkout and is never replaced", remedy="choose a new destination"
        )


def atomic_write(path: str | Path, content: bytes | str) -> Path:
    """Write a whole file: readers see the old content or the new, never a part.

    Args:
        path: The file; missing parent folders are made. An existing file is replaced.
        content: Bytes, or text that is written as UTF-8.

    Returns:
        The absolute path.

    Raises:
        RequestError: The path is a folder.
    """
    target = Path(path).expanduser().absolute()
    if target.is_dir():
        raise RequestError(f"{target} is a folder, not a file", remedy="name a file inside it")
    target.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode("utf-8") if isinstance(content, str) else content
    partial = _partial_name(target)
    try:
        with partial.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    _sync_folder(target.parent)
    return target


@contextmanager
def atomic_folder(destination: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """Give a fresh folder to fill; it becomes `destination` when the block ends without error.

    The destination is checked on entry, before any work. When it is replaced, the old folder
    stays in place until the new one is complete; on Linux the two are then exchanged in one step.
    On an error in the block the temporary folder is removed and the destination is as it was. If
    somebody else made the destination meanwhile, the finished folder is kept under its temporary
    name, which the error tells.

    Args:
        destination: Folder that is to appear; missing parents are made.
        overwrite: Allow an existing folder to be replaced as a whole (no file of it survives).

    Yields:
        The temporary folder, on the same file system as the destination.

    Raises:
        RequestError: As in `check_destination`.
    """
    target = check_destination(destination, overwrite)
    if target.exists() and not target.is_dir():
        raise RequestError(f"{target} is a file, not a folder", remedy="choose a new destination")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial_name(target)
    partial.mkdir()
    finished = False
    try:
        yield partial
        _sync_tree(partial)
        finished = True
        check_destination(target, overwrite)  # again: it may have appeared while we worked
        _put_in_place(partial, target)
        finished = False
    except RequestError as error:
        if not finished:
            raise
        raise RequestError(error.message, remedy=f"the result is kept in {partial}") from error
    finally:
        if not finished:
            shutil.rmtree(partial, ignore_errors=True)
    _sync_folder(target.parent)


def _partial_name(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")


def _put_in_place(fresh: Path, target: Path) -> None:
    """Rename `fresh` to `target`; afterwards `fresh` holds what was there before, if anything."""
    if not target.exists() or _is_empty_folder(target):
        os.rename(fresh, target)  # POSIX: an empty folder is replaced
        return
    if _exchange(fresh, target):
        return
    # Without an exchange there is a moment without destination; a failure puts the old one back.
    old = target.with_name(f".{target.name}.old-{secrets.token_hex(4)}")
    os.rename(target, old)
    try:
        os.rename(fresh, target)
    except BaseException:
        os.rename(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names in one step where the kernel can (Linux `renameat2`); else return False."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    done = renameat2(
        _AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE
    )
    return bool(done == 0)


def _sync_tree(folder: Path) -> None:
    """Flush every file and folder below to the disk, so that the rename cannot outrun them."""
    for where, _, files in os.walk(folder, topdown=False):
        for name in files:
            _sync(Path(where) / name)
        _sync_folder(Path(where))


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # other systems cannot open a folder
        _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
