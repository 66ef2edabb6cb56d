dve:
  tensor_copy A, B
