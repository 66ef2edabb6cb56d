const k = 1
const a#x = 1
