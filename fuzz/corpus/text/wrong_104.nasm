.arch v9
