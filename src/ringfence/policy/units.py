"""Sizes and times as people write them."""

# Decimal and binary multiples are told apart by the `i`, as in IEC 80000-13.
_SIZES = {
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}
_TIMES = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def size_bytes(value: int | str) -> int:
    """Turn a size of a checked document into bytes, at most 2**63 - 1."""
    return min(_scaled(value, _SIZES), 2**63 - 1)


def time_s(value: int | str) -> int:
    """Turn a time of a checked document into seconds."""
    return _scaled(value, _TIMES)


def size_text(value_bytes: int) -> str:
    """Write a size the way it could stand in a file: the largest binary unit that divides it."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if value_bytes and value_bytes % _SIZES[unit] == 0:
            return f"{value_bytes // _SIZES[unit]}{unit}"
    return str(value_bytes)


def _scaled(value: int | str, units: dict[str, int]) -> int:
    if isinstance(value, int):
        return value
    number = value.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    return int(number) * units[value[len(number) :]]
