"""A simulated Tableau REST and Metadata server, over real HTTP, for the demo and for the tests.

Read downward: ``server`` (HTTP and the traps of the wire) asks ``rest`` (which call it is), which asks ``sessions``
(who may) and ``pages`` (lists), ``single`` (one thing) or ``metadata`` (GraphQL). All tell what an ``estate`` knows,
as ``facts``. ``traps`` is what can go wrong, each a plain attribute.
"""
