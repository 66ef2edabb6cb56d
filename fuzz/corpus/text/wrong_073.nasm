const a = 1 
