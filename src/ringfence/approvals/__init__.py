"""Questions to a person, over channels that an agent cannot answer.

In: a `Question` of model/approval.py. Out: an `Answer`, or a denial that says why there is none. `terminal` is the
operator's own terminal. A channel must never take as an answer what was typed before the question was shown, nor
anything from inside a boundary; without a person it denies.
"""
