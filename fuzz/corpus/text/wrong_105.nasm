.what
