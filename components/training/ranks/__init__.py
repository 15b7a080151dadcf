"""The processes that train together: where each sits, how they join, how they are started."""
