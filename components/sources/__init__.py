"""Where images come from that are not here yet: revisions of a repository, buckets, folders elsewhere."""
