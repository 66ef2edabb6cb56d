

sp: foo bar
