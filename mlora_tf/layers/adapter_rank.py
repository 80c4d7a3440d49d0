"""The rank of a low-rank adapter: MLoRA's rule, and its cap."""


def adapter_rank(
    name: str,
    width: int,
    units: int,
    *,
    rank: int | None = None,
    temperature: int = 32,
    max_adapter_params: int | None = None,
) -> int:
    """The rank of an adapter from `width` to `units` (MLoRA, eq. 10).

    `r = max(units // temperature, 1)`. The cap of section 4.6 raises the
    temperature until `A` and `B` fit.

    Args:
        name: Whose adapter it is, for the message.
        width: Width of the input.
        units: Width of the output.
        rank: The rank, in place of `temperature`'s rule; 0 is no adapter.
        temperature: Divides `units`.
        max_adapter_params: The most numbers that one domain's `A` and `B`
            may hold together; None is any number.

    Raises:
        ValueError: Not even rank 1 fits into `max_adapter_params`.

    Example:
    >>> adapter_rank("hidden", 24, 256)
    8
    >>> adapter_rank("hidden", 24, 256, max_adapter_params=1024)
    3
    """
    by_rule = rank is None
    chosen = max(units // temperature, 1) if rank is None else rank
    if max_adapter_params is None or chosen == 0:
        return chosen
    fitting = max_adapter_params // (width + units)
    if fitting == 0:
        raise ValueError(
            f"a rank-1 adapter of {name!r} ({width} -> {units}) "
            f"has {width + units} parameters: raise "
            "max_adapter_params or adapt a narrower layer. "
            f"Received: max_adapter_params={max_adapter_params}"
        )
    while chosen > fitting and by_rule:
        temperature += 1
        chosen = max(units // temperature, 1)
    return min(chosen, fitting)
