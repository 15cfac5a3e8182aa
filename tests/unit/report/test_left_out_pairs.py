from overnight.report.sheets.trials import _sheets


def test_pairs_that_were_not_compared_are_counted_in_the_report() -> None:
    # Else a reader would take the pairs that are shown for all that there are.
    test = {
        "n_items": 4,
        "n_systems": 2,
        "q": None,
        "p_value": None,
        "q_value": None,
        "undefined_because": "few",
    }
    mean = {"system": "a treatment", "n_items": 4, "mean": 0.5, "ci": [0.2, 0.8], "undefined_because": None}
    cell = {"n_items": 4, "systems": [mean], "cochran": test, "pairs": [], "n_pairs_left_out": 498_501}
    group = {"model": {"model": "m"}, "trials": ["a"], "results": {"0.0": {"closed": cell}}}
    sheets = _sheets({"metric": "em", "groups": [group], "refused": []}, {"a": "a"})
    (note,) = sheets[-1].notes
    assert note.startswith("498,501 pairs were not compared")
