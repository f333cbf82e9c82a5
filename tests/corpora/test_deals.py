from collections import Counter
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill.corpora.deals import complete, lacking

PARTS = 3
uttered = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("xyz")), min_size=1, max_size=25)


def test_what_parts_lack() -> None:
    assert lacking("aabc", "xyxz", {"a": 0, "b": 1, "c": 1}, 3) == [["z"], ["y"], ["x", "y", "z"]]


def test_the_nearest_deal_without_a_gap() -> None:
    # b is the smaller of the two that utter y in part 0; d, larger than c, stays.
    units, classes = "aaabbccddd", "xxyxyxxxxy"
    assert complete(units, classes, {"a": 0, "b": 0, "c": 1, "d": 2}, 3) == {"a": 0, "b": 1, "c": 1, "d": 2}


@settings(deadline=None, max_examples=60)
@given(uttered.filter(lambda pairs: len({unit for unit, _ in pairs}) >= PARTS), st.data())
def test_no_deal_has_fewer_gaps_or_moves_less(pairs: list[tuple[str, str]], data: st.DataObject) -> None:
    units, classes = zip(*pairs, strict=True)
    names, sizes = sorted(set(units)), Counter(units)
    start = {name: data.draw(st.integers(0, PARTS - 1)) for name in names}

    def cost(deal: dict[str, int]) -> tuple[int, int]:
        return sum(map(len, lacking(units, classes, deal, PARTS))), sum(sizes[n] for n in names if deal[n] != start[n])

    deals = (dict(zip(names, parts, strict=True)) for parts in product(range(PARTS), repeat=len(names)))
    best = min(cost(deal) for deal in deals if len(set(deal.values())) == PARTS)
    found = complete(units, classes, start, PARTS)
    assert cost(found) == best
    assert len(set(found.values())) == PARTS
