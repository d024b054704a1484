"""The simulator: a real PostgreSQL with a simulated Tableau repository in it, for the demo and for the tests.

Read downward: ``simulation`` ties together ``postgres`` (the server), ``workgroup`` (the schema), ``company`` (who and
what there is), ``traffic`` (the past) and ``living`` (the present). ``alerting`` puts Prometheus and Alertmanager
beside it.
"""
