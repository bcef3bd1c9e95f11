"""The numbers of the fields of ONNX, by message: https://github.com/onnx/onnx, onnx.proto."""

MODEL_GRAPH, METADATA, MODEL_FUNCTION = 7, 14, 25
"""Of a model."""
NODE, INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT, SPARSE = 1, 5, 11, 12, 15
"""Of a graph."""
NODE_INPUT, NODE_OUTPUT, NODE_NAME, OP_TYPE, ATTRIBUTE = 1, 2, 3, 4, 5
"""Of a node."""
FUNCTION_NODE = 7
"""Of a function."""
ATTRIBUTE_NAME, ATTRIBUTE_INT, ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH = 1, 3, 5, 6
ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS, ATTRIBUTE_TYPE = 10, 11, 20
"""Of an attribute; the type of an integer is 2."""
TENSOR_DIMS, TENSOR_KIND, TENSOR_NAME, RAW_DATA, EXTERNAL_DATA, DATA_LOCATION = 1, 2, 8, 9, 13, 14
"""Of a tensor; 1 as the location of its data is elsewhere."""
KEY, VALUE = 1, 2
"""Of a pair of texts."""
VALUE_NAME, VALUE_TYPE, TENSOR_TYPE, ELEMENT_TYPE, SHAPE = 1, 2, 1, 1, 2
DIMENSION, DIMENSION_VALUE, DIMENSION_NAME = 1, 1, 2
"""Of an input or output, its type, its shape, and a size in it."""
FLOAT = 1
"""float32, as a type of elements."""
