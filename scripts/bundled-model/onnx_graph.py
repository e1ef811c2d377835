"""Writes ONNX graphs node by node.

An exporter would write the same network in another way with its next version; a graph written by hand has names that
can be read, and the same bytes every time.
"""

import hashlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 9


class Graph:
    """A graph that grows by calls: `g.op('Add', x, y)` gives the name of the result; arrays become constants."""

    def __init__(self, name):
        self.name = name
        self.nodes, self.constants, self.inputs, self.outputs = [], {}, [], []
        self.count = 0

    def input(self, name, dtype, shape):
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, name, value, shape, dtype=TensorProto.FLOAT):
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, dtype, shape))

    def constant(self, array, name=None):
        """An initializer; equal arrays without a name are stored once."""
        array = np.asarray(array)
        name = (
            name or f"c_{array.dtype}_{hashlib.sha256(repr(array.shape).encode() + array.tobytes()).hexdigest()[:12]}"
        )
        self.constants[name] = numpy_helper.from_array(array, name)
        return name

    def half(self, array, name):
        """A weight kept in 16 bits; the runtime widens it once, when it loads the model."""
        return self.op("Cast", self.constant(np.asarray(array, np.float16), name), to=TensorProto.FLOAT)

    def op(self, kind, *inputs, outputs=1, **attributes):
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        self.count += 1
        made = [f"{kind.lower()}_{self.count}" + (f"_{i}" if outputs > 1 else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, names, made, name=f"{kind}_{self.count}", **attributes))
        return made[0] if outputs == 1 else made

    def save(self, path, metadata, doc):
        """Checks and writes the model; returns the sha256 of the file."""
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, list(self.constants.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="skein")
        model.ir_version = IR_VERSION
        model.doc_string = doc
        helper.set_model_props(model, {key: str(value) for key, value in metadata.items()})
        onnx.checker.check_model(model, full_check=True)
        data = model.SerializeToString(deterministic=True)
        with open(path, "wb") as file:
            file.write(data)
        return hashlib.sha256(data).hexdigest()
