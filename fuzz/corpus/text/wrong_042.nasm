queue q: in what=3
