.lnc 3
