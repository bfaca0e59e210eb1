"""The numbers of neurons of routed experts: expert after expert, each with as many columns."""

from __future__ import annotations

from alignlab.errors import InputError


def expert_and_column(neuron: int, experts: int, neurons: int) -> tuple[int, int]:
    """The expert and the column in it of a neuron of a layer, all numbered from 0: neuron = expert * columns + column.

    experts: E, of the layer.  neurons: N = E * columns, as counts have them (`counts.experts`, `counts.shape[3]`).

    Raises InputError for a neuron that the layer has not, and for experts that are not of equal size.

        >>> expert_and_column(1543, experts=128, neurons=128 * 768)
        (2, 7)
        >>> neuron_of(2, 7, experts=128, neurons=128 * 768)
        1543
    """
    columns = _columns(experts, neurons)
    if not 0 <= neuron < neurons:
        raise InputError.of("neuron", f"{neuron}", f"0 to {neurons - 1}")
    return divmod(neuron, columns)


def neuron_of(expert: int, column: int, experts: int, neurons: int) -> int:
    """The number of a neuron in its layer, of its expert and column: the inverse of `expert_and_column`.

    Raises InputError for an expert or a column that is not there.
    """
    columns = _columns(experts, neurons)
    if not 0 <= expert < experts or not 0 <= column < columns:
        found = f"expert {expert}, column {column}"
        raise InputError.of("neuron", found, f"experts 0 to {experts - 1}, columns 0 to {columns - 1}")
    return expert * columns + column


def _columns(experts: int, neurons: int) -> int:
    if experts < 1 or neurons < 1 or neurons % experts:
        raise InputError.of("experts", f"{experts} experts of {neurons} neurons", "experts with equally many neurons")
    return neurons // experts
