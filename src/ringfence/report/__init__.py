"""What can be said of a machine and of runs, for people: findings about hardening.

`hardening.assess` takes a directory and gives the findings that `ringfence doctor` prints. Nothing here decides
or enforces anything.
"""
