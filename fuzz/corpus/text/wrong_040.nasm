queue q: up
