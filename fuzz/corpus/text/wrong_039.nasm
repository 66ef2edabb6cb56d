queue q: out n=17
