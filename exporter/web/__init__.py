"""What the agent serves: the exposition, the status page, and the doors to both.

Its law: a request touches neither the network nor a file; everything it answers with was made ahead.
"""
