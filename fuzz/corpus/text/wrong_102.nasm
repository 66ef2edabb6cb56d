sp: raw "00"
