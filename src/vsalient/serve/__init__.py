"""A service: videos in over HTTP, jobs in a queue that survives, children that do the work, outputs back.

Needs the extra `serve`. Nothing here loads torch: the work is done by `vsalient predict … --worker` in child processes.
"""
