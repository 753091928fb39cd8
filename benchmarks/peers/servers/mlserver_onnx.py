"""A custom runtime of MLServer around onnxruntime: it has none of its own."""

import os
from pathlib import Path

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxRuntime(MLModel):
    """Serves the exported model."""

    async def load(self) -> bool:
        """Load the model, on one thread."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        model = Path(os.environ["MODEL_FOLDER"]) / "model.onnx"
        self.session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Score rows."""
        given = {one.name: one for one in payload.inputs}
        numbers = NumpyCodec.decode_input(given["numbers"]).astype(np.float32)
        texts = StringCodec.decode_input(given["categories"])
        categories = np.asarray(texts, object).reshape(len(numbers), -1)
        feed = {"numbers": numbers, "categories": categories}
        found = self.session.run(["probabilities"], feed)[0][:, 1]
        output = NumpyCodec.encode_output("probability", found)
        return InferenceResponse(model_name=self.name, outputs=[output])
