sp: for i of 3 { }
