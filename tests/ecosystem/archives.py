"""Archives that come out the same every time: what registries hand out has a digest."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Mapping

_ZIP_TIME = (2020, 1, 1, 0, 0, 0)
_TIME = 1_577_836_800  # the same moment


def tarball(files: Mapping[str, str | bytes], *, executable: tuple[str, ...] = ()) -> bytes:
    """Pack files into a `.tar.gz`."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(data), _TIME, 0o755 if name in executable else 0o644
            archive.addfile(entry, io.BytesIO(data))
    return gzip.compress(out.getvalue(), 6, mtime=0)


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    """Pack files into a `.zip` (a wheel, a Go module)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), content)
    return out.getvalue()
