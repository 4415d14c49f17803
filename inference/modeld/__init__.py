"""The model supervisor: a process of its own (`python -m inference.modeld`), with no Django and no settings.

`store` opens a version's file and proves its hash · `processes` are the zygote and its runners · `supervisor` decides
which runner lives · `server` is the socket where web and worker processes ask · `address` finds that socket.
It hands out sockets and never sees a row; it never unpickles.
"""
