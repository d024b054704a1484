"""A simulated Tableau REST and Metadata server, over real HTTP, for the demo and for the tests.

Read downward: ``server`` (HTTP and the traps of the wire) asks ``rest`` (which call it is), which asks ``sessions``
(who may) and ``lists`` (pages, filters) or ``metadata`` (GraphQL). All report what an ``estate`` knows, as ``facts``,
written by ``markup`` or ``graph``. ``traps`` is what can go wrong, ``oddities`` what is odd about every Tableau.
"""
