"""The web server: metrics, pages, TLS and users.

A request touches neither the network nor a file; every answer was prepared before.
"""
