"""The model's own process. Started by path (`python -I …/inference/runner/__main__.py FD`), with an empty environment.

Everything in this folder is all that runs beside an uploaded model: no Django, no settings, nothing of ours from
outside the folder. `wire` and `arrays` are read by the other side of the sockets too.
"""
