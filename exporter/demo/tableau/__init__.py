"""A simulated Tableau REST and Metadata server, over real HTTP, for the demo and for the tests.

Read downward: ``server`` (HTTP and the failures on the wire) calls ``rest`` (which call it is), which calls
``sessions`` (who may) and ``lists`` (pages, filters) or ``metadata`` (GraphQL). All report what an ``estate`` knows, as
``facts``, written by ``markup`` or ``resolvers``. ``failure_modes`` are the faults, ``oddities`` the quirks of every
Tableau.
"""
