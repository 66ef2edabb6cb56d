sem a = 256
