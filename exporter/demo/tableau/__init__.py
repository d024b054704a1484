"""A simulated Tableau, over real HTTP, for the demo and for the tests: the REST and Metadata APIs, and Tableau Cloud.

Read downward: ``server`` (HTTP and the failures on the wire) calls ``rest`` (which call it is), which calls
``sessions`` (who may) and ``lists`` (pages, filters) or ``metadata`` (GraphQL). All report what an ``estate`` knows, as
``facts``, written by ``markup`` or ``resolvers``. ``failure_modes`` are the faults, ``oddities`` the quirks of every
Tableau. ``vizql_data_service`` answers queries of ``admin_insights``.

``cloud_manager`` is Tableau Cloud Manager. It lists the files of ``activity_files`` and signs addresses of the
``object_store``; both are made of the events of an ``activity_story``. ``cloud_failure_modes`` are the faults.
"""
