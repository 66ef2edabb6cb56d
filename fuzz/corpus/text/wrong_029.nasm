var x: input
