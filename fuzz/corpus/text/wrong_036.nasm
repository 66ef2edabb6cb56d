var x: pointer -> y
