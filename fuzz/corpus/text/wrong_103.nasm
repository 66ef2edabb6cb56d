sp: register_move r1, 2
