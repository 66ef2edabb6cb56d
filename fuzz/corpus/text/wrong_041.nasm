queue q: in owner=gpu
