"""One simulated deployment of the backend platform: its data, its code, its account of what was done to it.

- Code that was pushed really runs, in node; data that was stored is really held against the schema that is pushed.
- It follows the published behaviour of the platform, not what a client would like.
- Nothing here knows the clients that it stands in for.
"""
