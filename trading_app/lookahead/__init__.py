"""Search for look-ahead: whether features, observations, policies or signals know what happens later."""
